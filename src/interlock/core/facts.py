"""What the service measured, as the policy sees it: `input.facts`.

Every field is there in every proposal. docs/facts.md is generated from these types and from what each field's
`Fact` says.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, JsonValue, with_config
from typing_extensions import TypedDict  # pydantic takes typing.TypedDict from Python 3.12 on

_CLOSED = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What a field means to somebody who writes policies.

    `window` is what it is measured over. The schema of the input leaves all of it out, so a better word does
    not make another schema.
    """

    meaning: str
    unit: str
    window: str
    example: JsonValue


_PROPOSAL = "this proposal"
_SESSION = "the session"
_CALLS = "the session's last 128 calls; of the agent, the last 128 of its sessions, and of the last hour"
_OPERATION = "10 minutes from the operation's first attempt; a success ends it"
_ATTEMPTS = "the last 5 to 10 minutes"
_IN_ROW = "since the last that was not so"
_BREAKER = "the `window_seconds` of the breaker's reservation"
_NOVELTY = "allowed calls, for 90 days after the last"
_POINTER = "JSON Pointer"
_YES_OR_NO = "yes or no"
_STEP = "step of the session"
_RATIO = "for each first attempt"


@with_config(_CLOSED)
class ViolationInput(TypedDict):
    """One way in which the proposal fails the catalog: the argument's JSON Pointer and the broken rule."""

    code: Annotated[
        Literal["unknown_tool", "schema"],
        Fact(
            meaning="Whether the tool is not in the catalog, or the arguments do not fit its schema",
            unit="word",
            window=_PROPOSAL,
            example="schema",
        ),
    ]
    path: Annotated[
        str,
        Fact(
            meaning="The argument that does not fit; empty for the arguments as a whole",
            unit=_POINTER,
            window=_PROPOSAL,
            example="/max_count",
        ),
    ]
    rule: Annotated[
        str,
        Fact(
            meaning="The rule that it breaks",
            unit="keyword of JSON Schema",
            window=_PROPOSAL,
            example="type",
        ),
    ]
    message: Annotated[
        str,
        Fact(
            meaning="The same for a person, without the argument's value",
            unit="text",
            window=_PROPOSAL,
            example='the value is not of type "integer"',
        ),
    ]


@with_config(_CLOSED)
class CycleInput(TypedDict):
    """The tail of the calls is `count` repeats of one cycle of `length` calls; both 0 where it is none."""

    length: Annotated[
        int,
        Fact(
            meaning="How long the shortest cycle is that the calls end with twice or more; 0 where there is none",
            unit="calls, 2 to 8",
            window=_CALLS,
            example=3,
        ),
    ]
    count: Annotated[
        int,
        Fact(meaning="How often the calls went round that cycle", unit="rounds", window=_CALLS, example=2),
    ]


@with_config(_CLOSED)
class CallsInput(TypedDict):
    """How one proposal repeats what was proposed before it, itself counted."""

    same_call: Annotated[
        int,
        Fact(
            meaning="How often this tool was proposed with exactly these arguments, this time counted",
            unit="calls",
            window=_CALLS,
            example=1,
        ),
    ]
    same_call_same_result: Annotated[
        int,
        Fact(
            meaning="This call, and the unbroken run of its latest known results that are all the same; a change"
            " that another call made in between breaks it",
            unit="calls",
            window=_CALLS,
            example=1,
        ),
    ]
    similar_call: Annotated[
        int,
        Fact(
            meaning="How often this tool was proposed with arguments that are the same but for numbers, ids and"
            " cursors, this time counted",
            unit="calls",
            window=_CALLS,
            example=4,
        ),
    ]
    cycle: CycleInput
    steps: Annotated[
        int,
        Fact(
            meaning="How many calls were proposed, this one counted. Of the agent: at least in the last hour, and"
            " longer where it never rests, so set no limit against it",
            unit="calls",
            window="the session; of the agent, see there",
            example=12,
        ),
    ]


@with_config(_CLOSED)
class LoopsInput(TypedDict):
    """Repeats within the session, and over all sessions of the agent that go on at the same time."""

    session: CallsInput
    agent: CallsInput
    depth: Annotated[
        int,
        Fact(
            meaning="How deep proposals follow from each other by `parent_decision_id`, across agents; 1 without one",
            unit="proposals",
            window="all decisions on record",
            example=1,
        ),
    ]
    parent_known: Annotated[
        bool,
        Fact(
            meaning="Whether the parent is a decision of this tenant that is known; also true without a parent",
            unit=_YES_OR_NO,
            window="all decisions on record",
            example=True,
        ),
    ]


@with_config(_CLOSED)
class OperationInput(TypedDict):
    """The operation that the proposal is an attempt of, over all agents of the tenant."""

    key_given: Annotated[
        bool,
        Fact(
            meaning="Whether the caller named the operation: the worse of what is counted under its name and of this"
            " tool with exactly these arguments is told; without a name, the latter",
            unit=_YES_OR_NO,
            window=_PROPOSAL,
            example=False,
        ),
    ]
    attempts: Annotated[
        int,
        Fact(
            meaning="How often the operation was proposed, this time counted, whatever the answers were",
            unit="attempts",
            window=_OPERATION,
            example=1,
        ),
    ]
    failed_in_row: Annotated[
        int,
        Fact(
            meaning="Its outcomes that were failures, or of which nobody knows, with no success in between",
            unit="attempts",
            window=_OPERATION,
            example=0,
        ),
    ]
    seconds_since_failure: Annotated[
        int,
        Fact(
            meaning="How long ago the last of them was told; -1 where there was none",
            unit="whole seconds",
            window=_OPERATION,
            example=-1,
        ),
    ]


@with_config(_CLOSED)
class AttemptsInput(TypedDict):
    """Attempts over the window; `invalid_ratio`, `failed_ratio` and `retry_ratio` are per first attempt."""

    first_attempts: Annotated[
        int,
        Fact(meaning="Proposals that began an operation", unit="attempts", window=_ATTEMPTS, example=20),
    ]
    retries: Annotated[
        int,
        Fact(meaning="Proposals that went on with one", unit="attempts", window=_ATTEMPTS, example=2),
    ]
    invalid: Annotated[
        int,
        Fact(meaning="Proposals that did not fit the catalog", unit="attempts", window=_ATTEMPTS, example=1),
    ]
    failed: Annotated[
        int,
        Fact(
            meaning="Outcomes that were failures, or of which nobody knows",
            unit="attempts",
            window=_ATTEMPTS,
            example=3,
        ),
    ]
    invalid_in_row: Annotated[
        int,
        Fact(
            meaning="Proposals, this one counted, that did not fit the catalog",
            unit="attempts",
            window=_IN_ROW,
            example=0,
        ),
    ]
    failed_in_row: Annotated[
        int,
        Fact(
            meaning="Outcomes that were failures, or of which nobody knows",
            unit="attempts",
            window=_IN_ROW,
            example=0,
        ),
    ]
    invalid_ratio: Annotated[
        float,
        Fact(meaning="`invalid` over `first_attempts`", unit=_RATIO, window=_ATTEMPTS, example=0.05),
    ]
    failed_ratio: Annotated[
        float,
        Fact(meaning="`failed` over `first_attempts`", unit=_RATIO, window=_ATTEMPTS, example=0.15),
    ]
    retry_ratio: Annotated[
        float,
        Fact(meaning="`retries` over `first_attempts`", unit=_RATIO, window=_ATTEMPTS, example=0.1),
    ]


@with_config(_CLOSED)
class RetriesInput(TypedDict):
    """What was tried, and how it went."""

    operation: OperationInput
    session: AttemptsInput
    agent: AttemptsInput
    tool: AttemptsInput


@with_config(_CLOSED)
class BreakerInput(TypedDict):
    """The circuit breaker of the tenant's tool. `opened` counts how often in a row it opened."""

    state: Annotated[
        Literal["closed", "open", "half_open"],
        Fact(
            meaning="`closed`: calls pass; `open`: the tool is left alone; `half_open`: one call at a time may try",
            unit="word",
            window="now",
            example="closed",
        ),
    ]
    calls: Annotated[
        int,
        Fact(meaning="Outcomes that count in the breaker", unit="calls", window=_BREAKER, example=40),
    ]
    failed: Annotated[
        int,
        Fact(
            meaning="Those that were failures, or of which nobody knows",
            unit="calls",
            window=_BREAKER,
            example=2,
        ),
    ]
    slow: Annotated[
        int,
        Fact(
            meaning="Those that took the `slow_milliseconds` of their reservation, or longer",
            unit="calls",
            window=_BREAKER,
            example=0,
        ),
    ]
    opened: Annotated[
        int,
        Fact(
            meaning="How often it opened; each time doubles how long it stays open, up to 32 times",
            unit="openings",
            window="since it was last closed",
            example=0,
        ),
    ]
    seconds_until_half_open: Annotated[
        int,
        Fact(
            meaning="How long it stays open yet; 0 where it is not open",
            unit="whole seconds",
            window="now",
            example=0,
        ),
    ]


@with_config(_CLOSED)
class SpendInput(TypedDict):
    """What the session used so far: calls that ran; cost, model tokens and compute as outcomes and steps told."""

    calls: Annotated[
        int,
        Fact(meaning="Calls that ran, or may have", unit="calls", window=_SESSION, example=11),
    ]
    cost: Annotated[
        int,
        Fact(
            meaning="What outcomes and steps said that it cost",
            unit="millionths of the catalog's currency",
            window=_SESSION,
            example=250000,
        ),
    ]
    model_tokens: Annotated[
        int,
        Fact(
            meaning="What outcomes and steps said that models used",
            unit="tokens",
            window=_SESSION,
            example=18400,
        ),
    ]
    compute_milliseconds: Annotated[
        int,
        Fact(
            meaning="What outcomes said that tools computed, else how long the calls took",
            unit="milliseconds",
            window=_SESSION,
            example=5200,
        ),
    ]


@with_config(_CLOSED)
class StaleReadInput(TypedDict):
    """A memory entry that the agent acted on, and that was written since, or never held what was read."""

    key: Annotated[
        str, Fact(meaning="The entry's key", unit="text of the agent", window=_PROPOSAL, example="plan")
    ]
    read_version: Annotated[
        int, Fact(meaning="The version that the agent read", unit="version", window=_PROPOSAL, example=3)
    ]
    known_version: Annotated[
        int,
        Fact(
            meaning="The newest that a step or an outcome wrote",
            unit="version",
            window="90 days from the last write",
            example=4,
        ),
    ]
    problem: Annotated[
        Literal["version", "digest"],
        Fact(
            meaning="`version`: it was written since; `digest`: this version never held what was read",
            unit="word",
            window=_PROPOSAL,
            example="version",
        ),
    ]


@with_config(_CLOSED)
class UntrustedSourceInput(TypedDict):
    """What tainted the session: a source that the agent named, or (`tool_result`) the result of a tool."""

    kind: Annotated[
        str,
        Fact(
            meaning="`tool_result`, or the kind of source that the agent named",
            unit="word of the agent",
            window=_SESSION,
            example="tool_result",
        ),
    ]
    reference: Annotated[
        str,
        Fact(
            meaning="The tool's name, or where the agent read it",
            unit="text of the agent",
            window=_SESSION,
            example="read_email",
        ),
    ]
    step: Annotated[
        int,
        Fact(meaning="The step at which it was first read", unit=_STEP, window=_SESSION, example=2),
    ]


@with_config(_CLOSED)
class MeasuredContextInput(TypedDict):
    """What the service knows of the context, whatever the agent says of it.

    `untrusted_since_step` is 0 for a session that read nothing untrusted.
    """

    digest_sent: Annotated[
        bool,
        Fact(
            meaning="Whether the agent sent the digest of the session's state",
            unit=_YES_OR_NO,
            window=_PROPOSAL,
            example=True,
        ),
    ]
    digest_matches: Annotated[
        bool,
        Fact(
            meaning="Whether it is the one that the session's last answer gave; also true where none was sent",
            unit=_YES_OR_NO,
            window=_PROPOSAL,
            example=True,
        ),
    ]
    stale_reads: list[StaleReadInput]
    untrusted_since_step: Annotated[
        int,
        Fact(
            meaning="The step since when the session may know an attacker's text; 0 where it read nothing untrusted",
            unit=_STEP,
            window=_SESSION,
            example=2,
        ),
    ]
    untrusted_sources: list[UntrustedSourceInput]
    goal_set_by: Annotated[
        Literal["none", "proposal", "user"],
        Fact(
            meaning="Whose word the goal is: a user's own, or that of the first proposal",
            unit="word",
            window=_SESSION,
            example="user",
        ),
    ]
    goal_changed: Annotated[
        bool,
        Fact(
            meaning="Whether this proposal carries another goal than the session's",
            unit=_YES_OR_NO,
            window=_PROPOSAL,
            example=False,
        ),
    ]
    session_ended: Annotated[
        bool,
        Fact(
            meaning="Whether nothing happened in the session for longer than the service's `session_idle_seconds`",
            unit=_YES_OR_NO,
            window=_SESSION,
            example=False,
        ),
    ]
    idle_seconds: Annotated[
        int,
        Fact(
            meaning="How long nothing happened in the session before this proposal",
            unit="whole seconds",
            window=_SESSION,
            example=4,
        ),
    ]


@with_config(_CLOSED)
class ProvenanceInput(TypedDict):
    """Where a string or a number of the arguments was seen before; `step` is 0 for the goal and for nowhere."""

    path: Annotated[
        str, Fact(meaning="The argument", unit=_POINTER, window=_PROPOSAL, example="/recipients/0")
    ]
    kind: Annotated[
        Literal["recipient", "host", "amount", "path", "text"],
        Fact(
            meaning="What it stands for, by its form or by the catalog's `roles`",
            unit="word",
            window=_PROPOSAL,
            example="recipient",
        ),
    ]
    source: Annotated[
        Literal["goal", "trusted", "untrusted", "unseen", "unknown"],
        Fact(
            meaning="The most trusted place where it was seen: the goal, a trusted or an untrusted result, or none;"
            " `unknown` where not all could be remembered or read",
            unit="word",
            window=_SESSION,
            example="goal",
        ),
    ]
    step: Annotated[
        int,
        Fact(
            meaning="The step whose result had it; 0 for the goal, and where it was not seen",
            unit=_STEP,
            window=_SESSION,
            example=0,
        ),
    ]


@with_config(_CLOSED)
class NovelTargetInput(TypedDict):
    """Whom or what an argument names, and whether no allowed call of the tenant named it before."""

    path: Annotated[str, Fact(meaning="The argument", unit=_POINTER, window=_PROPOSAL, example="/host")]
    kind: Annotated[
        Literal["recipient", "host", "path"],
        Fact(
            meaning="What it names; of a path, its beginning", unit="word", window=_PROPOSAL, example="host"
        ),
    ]
    first: Annotated[
        bool,
        Fact(
            meaning="Whether no allowed call of the tenant named it",
            unit=_YES_OR_NO,
            window=_NOVELTY,
            example=True,
        ),
    ]


@with_config(_CLOSED)
class NoveltyInput(TypedDict):
    """What no allowed call did before: this tool by this agent, this shape of arguments, these targets."""

    tool: Annotated[
        bool,
        Fact(
            meaning="Whether no allowed call of the agent used this tool",
            unit=_YES_OR_NO,
            window=_NOVELTY,
            example=False,
        ),
    ]
    shape: Annotated[
        bool,
        Fact(
            meaning="Whether none of them used it with arguments of these names and types",
            unit=_YES_OR_NO,
            window=_NOVELTY,
            example=False,
        ),
    ]
    targets: list[NovelTargetInput]


@with_config(_CLOSED)
class FreezeInput(TypedDict):
    """A freeze that covers the call."""

    scope: Annotated[
        Literal["all", "tenant", "agent", "tool"],
        Fact(meaning="What it covers", unit="word", window="while it lasts", example="agent"),
    ]
    log_index: Annotated[
        int,
        Fact(
            meaning="Its record, which names it",
            unit="place in the log",
            window="while it lasts",
            example=412,
        ),
    ]
    comment: Annotated[
        str,
        Fact(meaning="Why, in the operator's words", unit="text", window="while it lasts", example="runaway"),
    ]


@with_config(_CLOSED)
class StandingInput(TypedDict):
    """A standing approval that the call satisfies: people said yes to it before it was proposed."""

    standing_id: Annotated[
        str, Fact(meaning="Its name", unit="name", window="until it expires", example="0193-4b")
    ]
    approvers: Annotated[
        list[str],
        Fact(meaning="Who gave it", unit="names", window="until it expires", example=["alice"]),
    ]
    codes: Annotated[
        list[str],
        Fact(
            meaning="Codes of the reasons that it answers",
            unit="reason codes",
            window="until it expires",
            example=["effects.needs_person"],
        ),
    ]
    remaining: Annotated[
        int,
        Fact(meaning="How many calls it is still for", unit="calls", window="until it expires", example=4),
    ]
    expires_unix: Annotated[
        int,
        Fact(meaning="Until when", unit="Unix seconds", window="until it expires", example=1772366400),
    ]


@with_config(_CLOSED)
class FactsInput(TypedDict):
    """What the service measured. Limits on it live in policy data, never here (invariant 4).

    `provenance_unlisted` counts arguments beyond those that are listed: nothing is known of them.
    """

    violations: list[ViolationInput]
    loops: LoopsInput
    retries: RetriesInput
    breaker: BreakerInput
    spend: SpendInput
    context: MeasuredContextInput
    provenance: list[ProvenanceInput]
    provenance_unlisted: Annotated[
        int,
        Fact(
            meaning="Strings and numbers of the arguments beyond the 128 that are listed",
            unit="arguments",
            window=_PROPOSAL,
            example=0,
        ),
    ]
    novelty: NoveltyInput
    freezes: list[FreezeInput]
    standing: list[StandingInput]
