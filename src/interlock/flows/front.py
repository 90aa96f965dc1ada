"""The story of a call that an agent makes through the gateway, without asking for a decision itself."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, assert_never

from interlock.core import tool_error
from interlock.core.canonical import UnencodableError, canonicalize, digest_of
from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call, ExecutionResult, Progress
from interlock.core.outcome import OutcomeKind
from interlock.core.tool_error import ToolError
from interlock.ports import Decisions, Identifiers, ProposedCall

PENDING = 64
"""Escalated calls of one connection that it may come back to; of more, the oldest are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What a front needs of the world.

    `gateway` is this gateway's name; `execute` has it act on a token; an escalated call waits
    `escalation_wait_seconds`, and `pauses` gives the seconds between asking so many times. `next_steps` tells by
    ErrorReason what a caller can do about it.
    """

    gateway: str
    decisions: Decisions
    execute: Callable[[Call], Awaitable[ExecutionResult]]
    identifiers: Identifiers
    escalation_wait_seconds: float
    pauses: Callable[[int], float]
    next_steps: Mapping[str, str]


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


async def call_tool(call: FrontCall, conversation: Conversation, front: Front) -> ExecutionResult | ToolError:
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
    """The decision, for which an escalated call waits a while: the same request, asked for again."""
    ends = asyncio.get_running_loop().time() + front.escalation_wait_seconds
    for asked in count():
        decision = await front.decisions.decide(proposed, conversation.credential)
        conversation.note(proposed, decision)
        pause = front.pauses(asked)
        if decision.verdict is not Verdict.ESCALATE or asyncio.get_running_loop().time() + pause > ends:
            return decision
        await asyncio.sleep(pause)
    raise AssertionError("unreachable")


async def _execute(
    decision: Decision, proposed: ProposedCall, progress: Progress | None, front: Front
) -> ExecutionResult | ToolError:
    """Act once. Whatever goes wrong, the call is never made again from here (invariant 8)."""
    done = await front.execute(
        Call(
            execution_token=decision.execution_token,
            tool=proposed.tool,
            arguments_json=proposed.arguments_json,
            progress=progress,
        )
    )
    return tool_error.unknown(done.execution_id) if done.kind is OutcomeKind.UNKNOWN else done


def _key(tool: str, arguments_json: bytes, goal: str) -> str:
    return digest_of([tool, arguments_json.decode(), goal])
