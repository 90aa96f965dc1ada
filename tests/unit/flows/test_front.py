"""Calls through the gateway's front, on decisions and executions of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from interlock.core.decision import Decision, Reason, Verdict
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError
from interlock.core.execution import Call, ExecutionResult
from interlock.core.outcome import OutcomeKind
from interlock.core.tool_error import ToolError
from interlock.flows.front import (
    PENDING,
    Acted,
    Conversation,
    Front,
    FrontCall,
    Withdrawals,
    call_tool,
    list_tools,
)
from tests.fakes import CountingIdentifiers, ScriptedDecisions

CREDENTIAL = "the-agents-credential"
TOKEN = "the.execution.token"
DECISION = Decision(
    decision_id="decision-1",
    request_id="",
    verdict=Verdict.ALLOW,
    reasons=(Reason(code="effects.read_granted", message="Reading is granted"),),
    obligations=(),
    policy_revision="revision-1",
    arguments_digest="digest",
    log_index=7,
    execution_token=TOKEN,
)
ESCALATE = replace(DECISION, verdict=Verdict.ESCALATE, execution_token="", approval_id="approval-1")
DENY = replace(DECISION, verdict=Verdict.DENY, execution_token="")
CALL = FrontCall(tool="git_log", arguments={"repo_path": ".", "max_count": 1.0}, goal="look")
DONE = ExecutionResult(
    execution_id="execution-1", kind=OutcomeKind.SUCCEEDED, result_json=b"{}", obligation_results=()
)


async def done(call: Call) -> ExecutionResult:
    return DONE


@dataclass
class World:
    """A front, and the calls that its gateway was asked to make."""

    decisions: ScriptedDecisions
    gateway: Callable[[Call], Awaitable[ExecutionResult]] = done
    waits: float = 0.0
    executed: list[Call] = field(default_factory=list)
    conversation: Conversation = field(
        default_factory=lambda: Conversation(credential=CREDENTIAL, session_id="session-1")
    )
    withdrawals: Withdrawals = field(default_factory=Withdrawals)
    identifiers: CountingIdentifiers = field(default_factory=lambda: CountingIdentifiers("request"))

    async def call(self, call: FrontCall = CALL) -> ExecutionResult | ToolError:
        answer = await self.acts(call)
        return answer.done if isinstance(answer, Acted) else answer

    async def acts(self, call: FrontCall = CALL) -> Acted | ToolError:
        front = Front(
            gateway="gateway-1",
            decisions=self.decisions,
            execute=self._execute,
            identifiers=self.identifiers,
            escalation_wait_seconds=self.waits,
            pauses=lambda asked: 0.001,
            next_steps={"TOKEN_EXPIRED": "propose the call again"},
            withdrawals=self.withdrawals,
        )
        return await call_tool(call, self.conversation, front)

    async def fails(self, call: FrontCall = CALL) -> ToolError:
        answer = await self.call(call)
        assert isinstance(answer, ToolError)
        return answer

    async def _execute(self, call: Call) -> ExecutionResult:
        self.executed.append(call)
        return await self.gateway(call)

    @property
    def request_ids(self) -> list[str]:
        return [call.request_id for call, _ in self.decisions.asked]


async def test_an_allowed_call_is_executed_as_it_was_decided() -> None:
    """What is presented with the token are the very bytes that were proposed (invariant 3)."""
    world = World(ScriptedDecisions(DECISION))
    assert await world.call() is DONE
    [(proposed, credential)] = world.decisions.asked
    [executed] = world.executed
    assert credential == CREDENTIAL
    assert (proposed.session_id, proposed.goal, proposed.tool) == ("session-1", "look", "git_log")
    assert executed.arguments_json == proposed.arguments_json == b'{"max_count":1,"repo_path":"."}'
    assert (executed.execution_token, executed.tool) == (TOKEN, "git_log")


async def test_each_call_is_a_request_of_its_own() -> None:
    """The same call made twice is decided twice, and runs twice where it is allowed twice."""
    world = World(ScriptedDecisions(DECISION))
    await world.call()
    await world.call()
    assert world.request_ids == ["request-1", "request-2"]
    assert len(world.executed) == 2


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ESCALATE])
async def test_without_an_allow_nothing_is_executed(verdict: Verdict) -> None:
    """No token, no call (invariant 1, case 61)."""
    world = World(ScriptedDecisions(replace(DECISION, verdict=verdict, execution_token="")))
    await world.fails()
    assert world.executed == []


async def test_without_a_decision_nothing_is_executed() -> None:
    """A decision service that is away is an error that says so; the tool is never reached (invariant 1, case 61)."""
    away = InterlockError(
        reason=ErrorReason.DECISION_LOG_UNAVAILABLE,
        message="the decision service cannot be reached",
        retry_after=1.0,
    )
    world = World(ScriptedDecisions(away))
    told = await world.fails()
    assert world.executed == []
    assert told.data["error"] == "DECISION_LOG_UNAVAILABLE"
    assert (told.data["may_have_run"], told.data["retry_after_seconds"]) == (False, 1.0)
    assert "did not run" in told.text


async def test_a_deny_says_what_to_change() -> None:
    """A model reads which argument breaks what, and sees the same as data."""
    reason = Reason(
        code="validation.schema",
        message="Arguments fail the schema",
        metadata={"rule": "type", "message": "expected a string"},
        path="/repo_path",
    )
    told = await World(ScriptedDecisions(replace(DENY, reasons=(reason,)))).fails()
    assert "- validation.schema at `/repo_path`: Arguments fail the schema: expected a string" in told.text
    assert "change the argument at `/repo_path`" in told.text
    assert told.data["reasons"] == [
        {
            "code": "validation.schema",
            "message": "Arguments fail the schema",
            "path": "/repo_path",
            "metadata": {"rule": "type", "message": "expected a string"},
        }
    ]
    assert told.data["decision_id"] == "decision-1"


async def test_a_deny_that_passes_says_when() -> None:
    """Where waiting helps, the seconds are told; where it does not, that the same call is no use."""
    told = await World(ScriptedDecisions(replace(DENY, retry_after=12.0))).fails()
    assert told.data["retry_after_seconds"] == 12.0
    assert "wait 12 seconds" in told.text
    final = await World(ScriptedDecisions(DENY)).fails()
    assert "retry_after_seconds" not in final.data
    assert "would be denied again" in final.text


async def test_an_escalated_call_tells_its_approval() -> None:
    """Who is to approve is told which approval, and the model how to come back."""
    told = await World(ScriptedDecisions(ESCALATE)).fails()
    assert told.data["approval_id"] == "approval-1"
    assert "approval `approval-1`" in told.text
    assert "make the same call again" in told.text


async def test_an_escalated_call_waits_for_its_approval() -> None:
    """Within the wait the decision is waited for, and the call runs once when it is allowed (invariant 9)."""
    world = World(ScriptedDecisions(ESCALATE, ESCALATE, DECISION), waits=60.0)
    assert await world.call() is DONE
    assert world.request_ids == ["request-1"]
    assert [waited[:2] for waited in world.decisions.waited] == [("decision-1", CREDENTIAL)] * 2
    assert len(world.executed) == 1


async def test_a_call_that_nobody_answers_in_time_stays_pending() -> None:
    """The end of the wait takes nothing back: the same call again is the same request, and waits on."""
    world = World(ScriptedDecisions(ESCALATE), waits=0.3)

    async def to_the_end(seconds: float) -> None:
        await asyncio.sleep(seconds)

    world.decisions.waits = to_the_end
    assert (await world.fails()).data["approval_id"] == "approval-1"
    assert len(world.decisions.waited) == 1
    assert world.decisions.withdrawn == []
    await world.fails()
    assert world.request_ids == ["request-1", "request-1"]


async def test_a_call_that_its_client_takes_back_asks_nobody_any_more() -> None:
    """Nobody wants the answer: the proposal is withdrawn, and nothing runs (case 53)."""
    world = World(ScriptedDecisions(ESCALATE), waits=60.0)
    waits = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        waits.set()
        await asyncio.Event().wait()

    world.decisions.waits = for_ever
    calling = asyncio.create_task(world.call())
    await waits.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await world.withdrawals.drain()
    assert world.decisions.withdrawn == [("decision-1", CREDENTIAL)]
    assert world.executed == []


async def test_what_an_approver_made_of_a_call_is_what_runs() -> None:
    """The token is for the edited arguments; the agent hears where they differ from its own (invariant 3)."""
    edited = b'{"max_count":1,"repo_path":"elsewhere"}'
    decision = replace(DECISION, edited_arguments_json=edited)
    world = World(ScriptedDecisions(ESCALATE, decision), waits=60.0)
    acted = await world.acts()
    assert isinstance(acted, Acted)
    assert acted.edited
    assert acted.edited.edits == [{"path": "/repo_path", "change": "changed"}]
    assert acted.edited.arguments == {"max_count": 1, "repo_path": "elsewhere"}
    assert [call.arguments_json for call in world.executed] == [edited]
    assert "elsewhere" not in repr(acted)


async def test_an_escalated_call_is_resumed_by_the_same_call() -> None:
    """The same call in the same connection is the same request, so that its approval answers it (invariant 9)."""
    world = World(ScriptedDecisions(ESCALATE, DECISION, DECISION))
    await world.fails()
    assert await world.call(replace(CALL, arguments={"max_count": 1, "repo_path": "."})) is DONE
    await world.call()
    assert world.request_ids == ["request-1", "request-1", "request-2"]


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, arguments={"repo_path": ".."}),
        replace(CALL, tool="git_show"),
        replace(CALL, goal="another"),
    ],
    ids=["arguments", "tool", "goal"],
)
async def test_another_call_resumes_nothing(other: FrontCall) -> None:
    """A changed call is a request of its own: an approval is for exactly what was escalated (invariant 3)."""
    world = World(ScriptedDecisions(ESCALATE))
    await world.fails()
    await world.fails(other)
    assert world.request_ids == ["request-1", "request-2"]


async def test_another_connection_resumes_nothing() -> None:
    """What waits belongs to the connection in which it was proposed."""
    world = World(ScriptedDecisions(ESCALATE))
    await world.fails()
    world.conversation = Conversation(credential=CREDENTIAL, session_id="session-2")
    await world.fails()
    assert world.request_ids == ["request-1", "request-2"]


async def test_what_waits_is_bounded() -> None:
    """Of more waiting calls than are kept, the oldest are forgotten, and asked for anew (case 41)."""
    world = World(ScriptedDecisions(ESCALATE))
    for number in range(PENDING + 1):
        await world.fails(replace(CALL, arguments={"number": number}))
    await world.fails(replace(CALL, arguments={"number": 1}))
    await world.fails(replace(CALL, arguments={"number": 0}))
    assert world.request_ids[-2:] == ["request-2", f"request-{PENDING + 2}"]


async def test_an_unknown_outcome_says_that_it_may_have_run() -> None:
    """A model must not take silence for a no (invariant 8)."""

    async def lost(call: Call) -> ExecutionResult:
        return replace(DONE, kind=OutcomeKind.UNKNOWN, result_json=b"")

    world = World(ScriptedDecisions(DECISION), gateway=lost)
    told = await world.fails()
    assert (told.data["may_have_run"], told.data["execution_id"]) == (True, "execution-1")
    assert "MAY HAVE RUN" in told.text
    assert len(world.executed) == 1


async def test_a_failed_call_is_the_tools_own_answer() -> None:
    """What the tool calls an error is handed on as it is."""

    async def failed(call: Call) -> ExecutionResult:
        return replace(DONE, kind=OutcomeKind.FAILED)

    assert await World(ScriptedDecisions(DECISION), gateway=failed).call() == replace(
        DONE, kind=OutcomeKind.FAILED
    )


async def test_a_token_that_expired_is_not_asked_for_again() -> None:
    """A refusal of the gateway is told with what to do, and nothing is tried a second time (invariant 8)."""

    async def expired(call: Call) -> ExecutionResult:
        raise InterlockError(reason=ErrorReason.TOKEN_EXPIRED, message="the token has expired")

    world = World(ScriptedDecisions(DECISION), gateway=expired)
    told = await world.fails()
    assert told.data["error"] == "TOKEN_EXPIRED"
    assert "What to do: propose the call again." in told.text
    assert len(world.executed) == len(world.decisions.asked) == 1


async def test_a_malformed_call_is_told_where() -> None:
    """What the service finds malformed is told with its place."""
    error = InterlockError(
        reason=ErrorReason.INVALID_FIELD,
        message="the goal is too long",
        violations=(FieldViolation(field="proposal.goal", description="must be shorter"),),
    )
    told = await World(ScriptedDecisions(error)).fails()
    assert "- proposal.goal: must be shorter" in told.text
    assert told.data["violations"] == [{"field": "proposal.goal", "path": "", "message": "must be shorter"}]


@pytest.mark.parametrize(
    "value", [2**53, float("nan"), "\ud800"], ids=["integer", "not a number", "surrogate"]
)
async def test_arguments_that_have_no_canonical_form_are_never_proposed(value: Any) -> None:
    """What could not be decided exactly is refused at the door, without its value (cases 28 and 63)."""
    world = World(ScriptedDecisions(DECISION))
    told = await world.fails(replace(CALL, arguments={"secret": value}))
    assert told.data["error"] == "MALFORMED_ARGUMENTS"
    assert (world.decisions.asked, world.executed) == ([], [])


async def test_tools_are_listed_for_the_agent_that_is_connected() -> None:
    """The list is asked for with the agent's own credential, and for this gateway (invariant 6)."""
    decisions = ScriptedDecisions(DECISION, tools=("git_log",))
    front = Front(
        gateway="gateway-1",
        decisions=decisions,
        execute=done,
        identifiers=CountingIdentifiers(),
        escalation_wait_seconds=0.0,
        pauses=lambda asked: 0.0,
        next_steps={},
    )
    conversation = Conversation(credential=CREDENTIAL, session_id="session-1")
    assert await list_tools(conversation, front) == ("git_log",)
    assert decisions.listed == [("gateway-1", CREDENTIAL)]


def test_a_credential_is_in_no_repr() -> None:
    """Neither a conversation nor a proposed call shows secrets or arguments (case 63)."""
    conversation = Conversation(credential=CREDENTIAL, session_id="session-1")
    proposed = conversation.propose(CALL, CountingIdentifiers())
    assert CREDENTIAL not in repr(conversation)
    assert "repo_path" not in f"{proposed!r} {CALL!r}"
