"""In-memory fakes of the ports, which behave as the real adapters do; tests/contract holds them to it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.adapters.ledger_rows import check_finding, steps_missing
from interlock.core.approval_answer import ApprovalPolicyInput, ApprovalTerms, MostPending
from interlock.core.cells import Cells, Change, Entry, Listed
from interlock.core.decision import Decision, Evaluated
from interlock.core.destinations import DestinationProblem
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Execution
from interlock.core.freeze import Freeze
from interlock.core.identity import Caller, Credential
from interlock.core.named_files import ABSENT
from interlock.core.outcome import Finding, Outcome, OutcomeKind, Reconciliation
from interlock.core.policy_input import PolicyInput
from interlock.core.record import EMPTY, Draft, Head, Record, RecordType, head_after
from interlock.core.sealing import cells_of, seal_all
from interlock.core.token import Claims, PlanStep
from interlock.ports import ProposedCall, Redemption, ToolCall, ToolOutcomeUnknown, ToolResult

Result = TypeVar("Result")

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class SettableClock:
    """ports.Clock that stands still until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> None:
        self.at += by


class CountingIdentifiers:
    """ports.Identifiers: `id-1`, `id-2` and so on."""

    def __init__(self, prefix: str = "id") -> None:
        self._prefix = prefix
        self._given = 0

    def new(self) -> str:
        self._given += 1
        return f"{self._prefix}-{self._given}"


class OneKeyPair:
    """ports.TokenSigner and ports.PublishedKeys of one Ed25519 key pair."""

    def __init__(self, kid: str = "key-1") -> None:
        self._private = Ed25519PrivateKey.generate()
        self._kid = kid

    @property
    def kid(self) -> str:
        return self._kid

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)

    def verify(self, kid: str, signing_input: bytes, signature: bytes) -> bool | None:
        if kid != self._kid:
            return None
        try:
            self._private.public_key().verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    async def ensure(self, kid: str) -> None:
        pass


class MemoryLedger:
    """ports.Ledger and ports.Outbox in memory. Set `away` to make it fail as a ledger on a full disk does."""

    def __init__(self) -> None:
        self.away = False
        self.failures = 0
        self._executions: dict[tuple[str, str], Execution] = {}
        self._reports: dict[str, Outcome] = {}
        self._findings: set[str] = set()

    @property
    def executions(self) -> list[Execution]:
        return list(self._executions.values())

    async def redeem(self, redemption: Redemption) -> str | None:
        await self._pause()
        added = Execution(
            execution_id=redemption.execution_id,
            token_id=redemption.token_id,
            decision_id=redemption.decision_id,
            tool=redemption.tool,
            kind=None,
            refusal="",
            result_digest="",
            start_time=redemption.start_time,
            end_time=None,
            delivery="",
            plan_decision_id=redemption.plan.decision_id if redemption.plan else "",
            plan_step=redemption.plan.step if redemption.plan else "",
        )
        if kept := self._executions.get((redemption.token_id, "")):
            return kept.execution_id
        if redemption.plan and (kept := self._of_step(redemption.plan)):
            return kept.execution_id
        if redemption.plan and (refusal := steps_missing(redemption.plan, self._succeeded(redemption.plan))):
            raise refusal
        self._executions[redemption.token_id, ""] = added
        return None

    async def finish(self, outcome: Outcome) -> None:
        await self._pause()
        self._end(outcome)

    async def refuse(self, outcome: Outcome) -> None:
        await self._pause()
        redeemed = (outcome.token_id, "") in self._executions
        refusal = ErrorReason.TOKEN_ALREADY_REDEEMED.value if redeemed else outcome.refusal
        self._executions.setdefault(
            (outcome.token_id, refusal),
            Execution(
                execution_id=outcome.execution_id,
                token_id=outcome.token_id,
                decision_id=outcome.decision_id,
                tool="",
                kind=outcome.kind,
                refusal=refusal,
                result_digest=outcome.result_digest,
                start_time=outcome.start_time,
                end_time=outcome.end_time,
                delivery="waiting",
            ),
        )

    async def writable(self) -> bool:
        await self._pause()
        return True

    async def recover(self, at: datetime) -> list[Outcome]:
        await self._pause()
        running = [execution for execution in self.executions if execution.kind is None]
        outcomes = [_unknown(execution, at) for execution in running]
        for outcome in outcomes:
            self._end(outcome)
        return outcomes

    async def undelivered(self, limit: int) -> list[Outcome]:
        await self._pause()
        waiting = [execution for execution in self.executions if execution.delivery == "waiting"]
        found = [
            each for each in self.executions if each not in waiting and each.execution_id in self._findings
        ]
        return [
            replace(
                self._reports.get(each.execution_id) or _outcome(each), reconciliation=each.reconciliation
            )
            for each in [*waiting, *found][:limit]
        ]

    async def delivered(self, outcome: Outcome) -> None:
        await self._pause()
        self._settle(outcome, "delivered")

    async def undeliverable(self, outcome: Outcome, refusal: InterlockError) -> None:
        await self._pause()
        self._settle(outcome, "undeliverable")

    async def reconcile(self, execution_id: str, found: Reconciliation) -> None:
        await self._pause()
        execution = next((each for each in self.executions if each.execution_id == execution_id), None)
        if check_finding(execution_id, execution, found):
            assert execution is not None
            self._executions[execution.token_id, ""] = replace(execution, reconciliation=found)
            self._findings.add(execution_id)

    async def list_executions(self, *, kind: OutcomeKind | None = None, limit: int = 100) -> list[Execution]:
        await self._pause()
        found = [execution for execution in reversed(self.executions) if kind in (None, execution.kind)]
        return found[:limit]

    async def close(self) -> None:
        pass

    async def _pause(self) -> None:
        """Others get their turn, as they do while a disk works."""
        await asyncio.sleep(0)
        if self.away:
            self.failures += 1
            raise InterlockError(reason=ErrorReason.LEDGER_UNAVAILABLE, message="the ledger is away")

    def _end(self, outcome: Outcome) -> None:
        key = (outcome.token_id, "")
        if self._executions[key].kind is None:
            self._reports[outcome.execution_id] = outcome
            self._executions[key] = replace(
                self._executions[key],
                kind=outcome.kind,
                result_digest=outcome.result_digest,
                end_time=outcome.end_time,
                delivery="waiting",
            )

    def _of_step(self, plan: PlanStep) -> Execution | None:
        wanted = (plan.decision_id, plan.step)
        found = (each for each in self.executions if (each.plan_decision_id, each.plan_step) == wanted)
        return next(found, None)

    def _succeeded(self, plan: PlanStep) -> list[str]:
        return [
            each.plan_step
            for each in self.executions
            if each.plan_decision_id == plan.decision_id
            and (
                each.kind is OutcomeKind.SUCCEEDED
                or (each.reconciliation and each.reconciliation.finding is Finding.SUCCEEDED)
            )
        ]

    def _settle(self, outcome: Outcome, delivery: str) -> None:
        key = (outcome.token_id, outcome.refusal)
        if self._executions[key].delivery == "waiting":
            self._executions[key] = replace(self._executions[key], delivery=delivery)
        if outcome.reconciliation:
            self._findings.discard(outcome.execution_id)
        self._reports.pop(outcome.execution_id, None)


def _unknown(execution: Execution, at: datetime) -> Outcome:
    return _outcome(replace(execution, kind=OutcomeKind.UNKNOWN, end_time=max(at, execution.start_time)))


def _outcome(execution: Execution) -> Outcome:
    assert execution.kind is not None
    assert execution.end_time is not None
    return Outcome(
        execution_id=execution.execution_id,
        decision_id=execution.decision_id,
        token_id=execution.token_id,
        kind=execution.kind,
        result_digest=execution.result_digest,
        refusal=execution.refusal,
        start_time=execution.start_time,
        end_time=execution.end_time,
    )


async def answer_done(call: ToolCall) -> ToolResult:
    """A tool that answers `done`."""
    return ToolResult(failed=False, value={"content": [{"type": "text", "text": "done"}]})


async def answer_error(call: ToolCall) -> ToolResult:
    """A tool that answers with an error."""
    return ToolResult(
        failed=True, value={"content": [{"type": "text", "text": "no such file"}], "isError": True}
    )


async def answer_nothing(call: ToolCall) -> ToolResult:
    """A tool whose server is lost in the middle of the call."""
    raise ToolOutcomeUnknown


@dataclass(slots=True, kw_only=True)
class ScriptedTools:
    """ports.ToolRunner whose `behave` is the tool. `calls` holds what reached it."""

    behave: Callable[[ToolCall], Awaitable[ToolResult]] = answer_done
    up: bool = True
    calls: list[ToolCall] = field(default_factory=list)
    while_preparing: Callable[[], None] = lambda: None

    async def ready(self, server: str) -> bool:
        return self.up

    async def prepare(self, call: ToolCall) -> "ScriptedCall":
        if not self.up:
            raise InterlockError(
                reason=ErrorReason.TOOL_UNAVAILABLE, message="the server is away", retry_after=1.0
            )
        self.while_preparing()
        return ScriptedCall(self, call)


@dataclass(slots=True)
class ScriptedCall:
    """ports.PreparedCall of ScriptedTools."""

    tools: ScriptedTools
    call: ToolCall
    closed: bool = False

    async def run(self) -> ToolResult:
        self.tools.calls.append(self.call)
        return await self.tools.behave(self.call)

    async def close(self) -> None:
        self.closed = True


class OpenFreezes:
    """ports.Freezes of a gateway that heard of these freezes just now; None: it heard nothing."""

    def __init__(self, *freezes: Freeze) -> None:
        self.known: tuple[Freeze, ...] | None = freezes

    def check(self, claims: Claims) -> None:
        if self.known is None:
            raise InterlockError(reason=ErrorReason.FREEZES_UNKNOWN, message="nothing was heard")
        if any(freeze.stops(claims) for freeze in self.known):
            raise InterlockError(reason=ErrorReason.TOKEN_FROZEN, message="it is frozen")


def no_files(roots: Mapping[str, str], text: str) -> tuple[str, str, DestinationProblem]:
    """core.destinations.ResolvePath where there are no files: a path leads where it says, under the first root."""
    return text, next(iter(roots)), ""


class OpenVault:
    """ports.Vault that hides nothing, and opens nothing under another name."""

    def seal(self, plain: bytes, name: str) -> bytes:
        return f"{name}:".encode() + plain

    def unseal(self, sealed: bytes, name: str) -> bytes:
        begin = f"{name}:".encode()
        if not sealed.startswith(begin):
            raise ValueError("what was kept cannot be opened with this service's key")
        return sealed.removeprefix(begin)


class NoFiles:
    """ports.FileDigests over `contents`, what is found by path; `absent` unless a test puts something there."""

    def __init__(self, contents: Mapping[str, str] | None = None) -> None:
        self.contents = dict(contents or {})

    async def digests(self, paths: Mapping[str, str]) -> Mapping[str, str]:
        await asyncio.sleep(0)
        return {path: self.contents.get(path, ABSENT) for path in paths}


class MemorySink:
    """ports.OutcomeSink in memory. `refuse_with` gives the error for an outcome, None to take it."""

    def __init__(self) -> None:
        self.taken: list[Outcome] = []
        self.attempts = 0
        self.refuse_with: Callable[[Outcome], InterlockError | None] = lambda outcome: None

    async def deliver(self, outcome: Outcome) -> None:
        self.attempts += 1
        await asyncio.sleep(0)
        if refusal := self.refuse_with(outcome):
            raise refusal
        self.taken.append(outcome)


class MemoryDecisionLog:
    """ports.DecisionLog and ports.RecordReader in memory.

    Set `away` to make all of it fail, or `full` to make only appending fail, as a store on a bad or full
    disk does.
    """

    def __init__(self, state: "MemorySessionState | None" = None) -> None:
        self.away = False
        self.full = False
        self.appends = 0
        self.records: list[Record] = []
        self.state = state or MemorySessionState()

    async def recall(self, onces: Sequence[str]) -> list[Record | None]:
        await self._pause()
        return [self._find_once(once) for once in onces]

    async def append(self, drafts: Sequence[Draft]) -> list[Record]:
        await self._pause()
        if self.full:
            raise _log_unavailable()
        present = {record.once: record for record in self.records if record.once}
        cells = self.state.hold(cells_of(drafts, present))
        sealed = seal_all(drafts, present, cells, self._head())
        self.records += sealed.new
        self.state.keep(cells)
        self.appends += 1
        return sealed.appended

    async def writable(self) -> bool:
        await self.append([])
        return True

    async def list_records(
        self, *, tenants: Sequence[str], type: RecordType | None, decision_id: str, start: int, limit: int
    ) -> list[Record]:
        await self._pause()
        found = [
            record
            for record in self.records[start:]
            if record.tenant in tenants
            and type in (None, record.type)
            and decision_id in ("", record.decision_id)
        ]
        return found[:limit]

    async def get_record(self, log_index: int) -> Record | None:
        await self._pause()
        return self.records[log_index] if 0 <= log_index < len(self.records) else None

    async def decision_records(self, decision_ids: Sequence[str]) -> list[Record | None]:
        await self._pause()
        decisions = [record for record in self.records if record.type is RecordType.DECISION]
        found = {record.decision_id: record for record in decisions if record.decision_id}
        return [found.get(decision_id) for decision_id in decision_ids]

    async def session_records(self, *, tenant: str, session: str, start: int, limit: int) -> list[Record]:
        await self._pause()
        found = [
            record
            for record in self.records[start:]
            if record.tenant == tenant and record.session == session != ""
        ]
        return found[:limit]

    async def head(self) -> Head:
        await self._pause()
        return self._head()

    async def _pause(self) -> None:
        """Others get their turn, as they do while a disk works."""
        await asyncio.sleep(0)
        if self.away:
            raise _log_unavailable()

    def _find_once(self, once: str) -> Record | None:
        return next((record for record in self.records if record.once == once != ""), None)

    def _head(self) -> Head:
        return head_after(self.records[-1]) if self.records else EMPTY


class MemorySessionState:
    """ports.SessionState in memory. Set `away` to make all of it fail, as a store on a bad disk does."""

    def __init__(self) -> None:
        self.away = False
        self.cells: dict[bytes, tuple[bytes, datetime]] = {}
        self.entries: dict[Entry, datetime] = {}

    async def apply(self, changes: Sequence[Change[Result]], *, durable: bool) -> list[Result]:
        await self._pause()
        cells = self.hold(key for change in changes for key in change.keys)
        results = [change.run(cells) for change in changes]
        self.keep(cells)
        return results

    async def prune(self, at: datetime, *, limit: int) -> int:
        await self._pause()
        over = [key for key, (_, ends) in self.cells.items() if ends < at][:limit]
        for key in over:
            del self.cells[key]
        lines = [entry for entry, ends in self.entries.items() if ends < at][:limit]
        for entry in lines:
            del self.entries[entry]
        return len(over) + len(lines)

    async def page(
        self, list_key: bytes, *, after: bytes = b"", before: bytes | None = None, limit: int
    ) -> list[Listed]:
        await self._pause()
        found = sorted(
            (entry.place, entry.key)
            for entry in self.entries
            if entry.list_key == list_key and after < entry.place and (before is None or entry.place < before)
        )
        there = ((place, key, self.cells[key][0]) for place, key in found if key in self.cells)
        return [Listed(*line) for line in islice(there, limit)]

    def hold(self, keys: Iterable[bytes]) -> Cells:
        return Cells({key: self.cells.get(key, (b"", NOON))[0] for key in keys})

    def keep(self, cells: Cells) -> None:
        self.cells.update(cells.changed())
        for entry, ends in cells.entries().items():
            if ends is None:
                self.entries.pop(entry, None)
            else:
                self.entries[entry] = ends

    async def _pause(self) -> None:
        """Others get their turn, as they do while a disk works."""
        await asyncio.sleep(0)
        if self.away:
            raise _log_unavailable()


def _log_unavailable() -> InterlockError:
    return InterlockError(reason=ErrorReason.DECISION_LOG_UNAVAILABLE, message="the decision log is away")


ONE_APPROVES = ApprovalTerms(
    priority=50,
    expire_seconds=3_600,
    use_seconds=900,
    most_pending=MostPending(agent=20, tenant=1_000, agent_an_hour=200),
    roles=("approver",),
    quorum=1,
    permitted=True,
    sufficient=True,
    reasons=(),
)
"""Anybody may approve, and one is enough."""


class ScriptedEngine:
    """ports.PolicyEngine whose `answer` is the policy. `batches` holds what it was asked."""

    def __init__(
        self,
        answer: Callable[[PolicyInput], Evaluated | InterlockError],
        *,
        shows: Callable[[PolicyInput], bool | InterlockError] = lambda document: False,
        terms: Callable[[ApprovalPolicyInput], ApprovalTerms | InterlockError] = lambda document: (
            ONE_APPROVES
        ),
        revision: str = "revision-1",
    ) -> None:
        self.answer = answer
        self.shows = shows
        self.terms = terms
        self.revision = revision
        self.batches: list[list[PolicyInput]] = []

    async def evaluate(
        self, inputs: Sequence[PolicyInput], *, limit_seconds: float
    ) -> list[Evaluated | InterlockError]:
        await asyncio.sleep(0)
        self.batches.append(list(inputs))
        return [self.answer(document) for document in inputs]

    async def approval(
        self, inputs: Sequence[ApprovalPolicyInput], *, limit_seconds: float
    ) -> list[ApprovalTerms | InterlockError]:
        await asyncio.sleep(0)
        return [self.terms(document) for document in inputs]

    async def offered(self, inputs: Sequence[PolicyInput], *, limit_seconds: float) -> list[bool]:
        await asyncio.sleep(0)
        self.batches.append(list(inputs))
        answers = []
        for answer in map(self.shows, inputs):
            if isinstance(answer, InterlockError):
                raise answer
            answers.append(answer)
        return answers


class ScriptedDecisions:
    """ports.Decisions whose `answers` come in turn, the last again and again. `asked` holds what it was asked.

    `waits` is how long waiting takes; `waited` and `withdrawn` hold whose decisions were waited for and taken back.
    """

    def __init__(self, *answers: Decision | InterlockError, tools: Sequence[str] = ()) -> None:
        self.answers = list(answers)
        self.tools = tools
        self.asked: list[tuple[ProposedCall, str]] = []
        self.listed: list[tuple[str, str]] = []
        self.waits: Callable[[float], Awaitable[None]] = lambda seconds: asyncio.sleep(0)
        self.waited: list[tuple[str, str, float]] = []
        self.withdrawn: list[tuple[str, str]] = []

    async def decide(self, call: ProposedCall, credential: str) -> Decision:
        await asyncio.sleep(0)
        self.asked.append((call, credential))
        return self._next(call.request_id)

    async def wait(self, decision: Decision, credential: str, *, limit_seconds: float) -> Decision:
        self.waited.append((decision.decision_id, credential, limit_seconds))
        await self.waits(limit_seconds)
        return self._next(decision.request_id)

    async def withdraw(self, decision: Decision, credential: str) -> None:
        await asyncio.sleep(0)
        self.withdrawn.append((decision.decision_id, credential))

    def _next(self, request_id: str) -> Decision:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, InterlockError):
            raise answer
        return replace(answer, request_id=request_id)

    async def list_tools(self, gateway: str, credential: str) -> Sequence[str]:
        await asyncio.sleep(0)
        self.listed.append((gateway, credential))
        return self.tools


class MemoryCredentials:
    """ports.Credentials in memory."""

    def __init__(self, *credentials: Credential) -> None:
        self._credentials = {credential.caller.credential_id: credential for credential in credentials}

    async def find(self, credential_id: str) -> Credential | None:
        await asyncio.sleep(0)
        return self._credentials.get(credential_id)

    def add(self, caller: Caller) -> None:
        self._credentials[caller.credential_id] = Credential(
            caller=caller, secret_hash=bytes(32), create_time=NOON
        )

    def revoke(self, credential_id: str) -> None:
        kept = self._credentials[credential_id]
        self._credentials[credential_id] = replace(kept, revoke_time=NOON)
