"""The story of a call that an agent makes through the gateway, without asking for a decision itself."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, assert_never

from interlock.core import tool_error
from interlock.core.argument_edits import edits_between
from interlock.core.canonical import UnencodableError, canonicalize, digest_of
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call, ExecutionResult, Progress
from interlock.core.outcome import OutcomeKind
from interlock.core.policy_input import EditInput
from interlock.core.strict_json import parse_object
from interlock.core.tool_error import ToolError
from interlock.ports import Decisions, Identifiers, ProposedCall

PENDING = 64
"""Escalated calls of one connection that it may come back to; of more, the oldest are forgotten."""

LONGEST_WAIT_SECONDS = 20.0
"""Of one question to the decision service, which it holds open: less than what it lets a call last."""

LEAST_WAIT_SECONDS = 0.25
"""With less left, it is not asked once more."""


class Withdrawals:
    """Proposals that are being taken back, because whoever made them has gone."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, withdrawing: Coroutine[Any, Any, None]) -> None:
        """Take one back, whatever becomes of who asked for it."""
        task = asyncio.create_task(withdrawing)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def drain(self) -> None:
        """Return when all that was begun has ended."""
        while self._running:
            await asyncio.wait(set(self._running))


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What a front needs of the world.

    `gateway` is this gateway's name; `execute` has it act on a token; an escalated call waits
    `escalation_wait_seconds`, in questions whose beginnings lie `pauses` seconds apart at least, by how many there
    were. `next_steps` tells by ErrorReason what a caller can do about it.
    """

    gateway: str
    decisions: Decisions
    execute: Callable[[Call], Awaitable[ExecutionResult]]
    identifiers: Identifiers
    escalation_wait_seconds: float
    pauses: Callable[[int], float]
    next_steps: Mapping[str, str]
    withdrawals: Withdrawals = field(default_factory=Withdrawals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What an approver made of a call before it ran: the places that differ from what was proposed, and all of it."""

    edits: Sequence[EditInput]
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What the gateway did; `edited` is None where the call ran as it was proposed."""

    done: ExecutionResult
    edited: Edited | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontCall:
    """A call as it came in. `goal` is empty where none was said; `progress` hears how far it is."""

    tool: str
    arguments: Mapping[str, Any] = field(repr=False)
    goal: str = ""
    progress: Progress | None = None


@dataclass(slots=True)
class Conversation:
    """One connection of one agent: its credential, its session, and the calls that wait for an approval."""

    credential: str = field(repr=False)
    session_id: str
    _waiting: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)

    def propose(self, call: FrontCall, identifiers: Identifiers) -> ProposedCall:
        """The call as a request: the one that was escalated before, if it is the same call.

        Raises InterlockError: MALFORMED_ARGUMENTS.
        """
        try:
            arguments_json = canonicalize(dict(call.arguments))
        except (UnencodableError, RecursionError) as error:
            raise InterlockError(
                reason=ErrorReason.MALFORMED_ARGUMENTS,
                message="the arguments hold what I-JSON does not have, such as an integer beyond 2^53-1",
            ) from error
        return ProposedCall(
            request_id=self._waiting.get(_key(call.tool, arguments_json, call.goal)) or identifiers.new(),
            session_id=self.session_id,
            goal=call.goal,
            tool=call.tool,
            arguments_json=arguments_json,
        )

    def note(self, proposed: ProposedCall, decision: Decision) -> None:
        """Remember the request for as long as it waits for its approval."""
        key = _key(proposed.tool, proposed.arguments_json, proposed.goal)
        if decision.verdict is not Verdict.ESCALATE:
            self._waiting.pop(key, None)
            return
        self._waiting[key] = proposed.request_id
        self._waiting.move_to_end(key)
        if len(self._waiting) > PENDING:
            self._waiting.popitem(last=False)


async def call_tool(call: FrontCall, conversation: Conversation, front: Front) -> Acted | ToolError:
    """Decide, then act where the decision is an allow: what the tool answered, or why it did not.

    No token, no call (case 61). What is raised, other than for cancellation, is a defect: the call may have run.
    """
    try:
        proposed = conversation.propose(call, front.identifiers)
        decision = await _decide(proposed, conversation, front)
        match decision.verdict:
            case Verdict.ALLOW:
                return await _execute(decision, proposed, call.progress, front)
            case Verdict.DENY:
                return tool_error.denied(decision)
            case Verdict.ESCALATE:
                return tool_error.waiting(decision)
        assert_never(decision.verdict)
    except InterlockError as error:
        return tool_error.refused(error, front.next_steps)


async def list_tools(conversation: Conversation, front: Front) -> Sequence[str]:
    """Names of this gateway's tools that the agent could ever be allowed. Raises InterlockError."""
    return await front.decisions.list_tools(front.gateway, conversation.credential)


async def _decide(proposed: ProposedCall, conversation: Conversation, front: Front) -> Decision:
    """The decision, for which an escalated call waits a while."""
    decision = await front.decisions.decide(proposed, conversation.credential)
    conversation.note(proposed, decision)
    if _is_pending(decision) and front.escalation_wait_seconds:
        decision = await _wait(decision, conversation, front)
        conversation.note(proposed, decision)
    return decision


async def _wait(decision: Decision, conversation: Conversation, front: Front) -> Decision:
    """What people say to it within the time; later it can be asked for again.

    A client that takes its call back wants no answer any more: so its proposal is taken back, too.
    """
    now = asyncio.get_running_loop().time
    ends = now() + front.escalation_wait_seconds
    try:
        for asked in count():
            again = now() + front.pauses(asked)
            limit = min(ends - now(), LONGEST_WAIT_SECONDS)
            decision = await front.decisions.wait(decision, conversation.credential, limit_seconds=limit)
            if not _is_pending(decision) or max(again, now()) > ends - LEAST_WAIT_SECONDS:
                return decision
            await asyncio.sleep(max(0.0, again - now()))
    except asyncio.CancelledError:
        front.withdrawals.begin(_withdraw(decision, conversation.credential, front))
        raise
    raise AssertionError("unreachable")


def _is_pending(decision: Decision) -> bool:
    return decision.verdict is Verdict.ESCALATE and bool(decision.approval_id)


async def _withdraw(decision: Decision, credential: str, front: Front) -> None:
    """As well as it goes: an approval that stays expires by itself."""
    with contextlib.suppress(InterlockError):
        await front.decisions.withdraw(decision, credential)


async def _execute(
    decision: Decision, proposed: ProposedCall, progress: Progress | None, front: Front
) -> Acted | ToolError:
    """Act once, on what an approver made of the call. Whatever goes wrong, it is never made again (invariant 8)."""
    edited = _edited(proposed.arguments_json, decision.edited_arguments_json)
    done = await front.execute(
        Call(
            execution_token=decision.execution_token,
            tool=proposed.tool,
            arguments_json=decision.edited_arguments_json or proposed.arguments_json,
            progress=progress,
        )
    )
    if done.kind is OutcomeKind.UNKNOWN:
        return tool_error.unknown(done.execution_id)
    return Acted(done=done, edited=edited)


def _edited(proposed: bytes, edited: bytes) -> Edited | None:
    """Raises InterlockError: MALFORMED_ARGUMENTS."""
    if not edited:
        return None
    before = parse_object(proposed, field="arguments_json")
    after = parse_object(edited, field="edited_arguments_json")
    return Edited(edits=edits_between(before, after), arguments=after)


def _key(tool: str, arguments_json: bytes, goal: str) -> str:
    return digest_of([tool, arguments_json.decode(), goal])
