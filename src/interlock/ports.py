"""What the flows need of the world, in core types; `adapters/` and `rpc/` hold what fulfils it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar, runtime_checkable

from interlock.core.approval_answer import ApprovalPolicyInput, ApprovalTerms
from interlock.core.catalog import Tool
from interlock.core.cells import Change, Listed
from interlock.core.decision import Decision, Evaluated
from interlock.core.destinations import Destination
from interlock.core.errors import InterlockError
from interlock.core.execution import Progress
from interlock.core.freeze import Freeze
from interlock.core.identity import Credential
from interlock.core.obligation_kinds import Sandbox
from interlock.core.outcome import MemoryWrite, Outcome, Usage
from interlock.core.policy_input import PolicyInput
from interlock.core.record import Draft, Head, Record, RecordType
from interlock.core.token import Claims, PlanStep, VerifyingKeys

Result = TypeVar("Result")


class Clock(Protocol):
    """The time, which flows never ask the system for."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...


class Identifiers(Protocol):
    """New names."""

    def new(self) -> str:
        """A name that nobody can guess and that was never given: characters of [a-z0-9-], at most 64.

        Names begin with their time, so that what is stored under them lies together where it was made together.
        """
        ...


class PolicyEngine(Protocol):
    """What evaluates the active policy bundle."""

    async def evaluate(
        self, inputs: Sequence[PolicyInput], *, limit_seconds: float
    ) -> list[Evaluated | InterlockError]:
        """One result for each input, in order; an error of one leaves the others theirs. Never raises."""
        ...

    async def offered(self, inputs: Sequence[PolicyInput], *, limit_seconds: float) -> list[bool]:
        """For each input, in order, whether the policy shows its tool to the subject.

        Raises InterlockError where it gives no clear answer for each: then nothing is shown.
        """
        ...

    async def approval(
        self, inputs: Sequence[ApprovalPolicyInput], *, limit_seconds: float
    ) -> list[ApprovalTerms | InterlockError]:
        """What the policy says of approvals, one result for each input, in order. Never raises."""
        ...

    @property
    def revision(self) -> str:
        """Revision of the bundle that is to answer now."""
        ...


class DecisionLog(Protocol):
    """The append-only log, and the state that changes with it."""

    async def recall(self, onces: Sequence[str]) -> list[Record | None]:
        """For each name the record that bears it. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
        ...

    async def append(self, drafts: Sequence[Draft]) -> list[Record]:
        """Seal and store the drafts in one transaction, durable on return: all of them or none.

        A draft whose `once` is in the log already is not stored; the record that is there is given back.
        The change of each draft that is stored runs in the same transaction, in the order of the drafts.
        Raises InterlockError: DECISION_LOG_UNAVAILABLE, also when the store does not answer in time.
        """
        ...


class SessionState(Protocol):
    """The state behind the facts: what sessions, agents, tools and tenants did, and what they hold."""

    async def apply(self, changes: Sequence[Change[Result]], *, durable: bool) -> list[Result]:
        """Run the changes one after the other in one transaction, while nobody else has their cells.

        `durable` false leaves it to the next transaction that is durable: a crash of the machine may undo it,
        never without undoing all that came after. Raises InterlockError: DECISION_LOG_UNAVAILABLE, and
        nothing was changed then.
        """
        ...

    async def prune(self, at: datetime, *, limit: int) -> int:
        """Forget at most `limit` cells, and as many lines of lists, whose time is over. How many were forgotten."""
        ...


class Listings(Protocol):
    """The lists of cells that changes made."""

    async def page(
        self, list_key: bytes, *, after: bytes = b"", before: bytes | None = None, limit: int
    ) -> list[Listed]:
        """Lines in places after `after` and, where it is given, before `before`, in their order; at most `limit`.

        A line whose cell is not there is left out. It keeps no one waiting: what it gives may just have changed.
        Raises InterlockError: DECISION_LOG_UNAVAILABLE.
        """
        ...


class NotDelivered(Exception):
    """A webhook did not take what it was sent; the message says why, and nothing of what was sent or where to."""


class WebhookSender(Protocol):
    """Sending to webhooks, by their names."""

    async def send(self, webhook: str, delivery_id: str, body: bytes) -> None:
        """Send the body, JSON, once, in bounded time. Raises NotDelivered unless the webhook says that it has it."""
        ...


class RecordReader(Protocol):
    """Reading the decision log."""

    async def list_records(
        self, *, tenants: Sequence[str], type: RecordType | None, decision_id: str, start: int, limit: int
    ) -> list[Record]:
        """Records of these tenants from log_index `start` on that match, oldest first."""
        ...

    async def get_record(self, log_index: int) -> Record | None:
        """The record in this place."""
        ...

    async def decision_records(self, decision_ids: Sequence[str]) -> list[Record | None]:
        """For each decision its record."""
        ...

    async def session_records(self, *, tenant: str, session: str, start: int, limit: int) -> list[Record]:
        """Records of this session from log_index `start` on, oldest first."""
        ...

    async def head(self) -> Head:
        """Where the log stands."""
        ...


class Credentials(Protocol):
    """The credentials that were given out."""

    async def find(self, credential_id: str) -> Credential | None:
        """The credential of this id. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
        ...


class Vault(Protocol):
    """Keeps what must not lie open in the store."""

    def seal(self, plain: bytes, name: str) -> bytes:
        """What only this service, and its replicas, can open again, under the same `name` only."""
        ...

    def unseal(self, sealed: bytes, name: str) -> bytes:
        """What was sealed. Raises ValueError for what is not so, or was sealed with another key."""
        ...


class FileDigests(Protocol):
    """Looks into files that arguments name."""

    async def digests(self, paths: Mapping[str, str]) -> Mapping[str, str]:
        """What is found at each canonical path (core.named_files); `paths` has the folder of each one's root.

        Bounded in time and in bytes, and never raises: what was not read is `unread`.
        """
        ...


class Meter(Protocol):
    """Counts what happens, under labels from closed sets only (case 44)."""

    def decided(self, verdict: str) -> None:
        """A decision was given."""
        ...

    def answered(self, method: str, code: str, seconds: float) -> None:
        """A call ended with this status code name after so many seconds."""
        ...

    def executed(self, outcome: str) -> None:
        """A gateway acted, and this came of it."""
        ...

    def failed(self, reason: str) -> None:
        """An error was given, for this ErrorReason."""
        ...


class TokenSigner(Protocol):
    """The private key that signs execution tokens. The gateway has none (invariant 5)."""

    @property
    def kid(self) -> str:
        """Name of the key that signs now."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature of `data`, 64 bytes."""
        ...


class PublishedKeys(VerifyingKeys, Protocol):
    """The public keys that the decision service publishes."""

    async def ensure(self, kid: str) -> None:
        """Look for a key that is not known yet. Returns also when it is not found. Never raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """A token's one use at this gateway."""

    token_id: str
    execution_id: str
    decision_id: str
    tool: str
    expire_time: datetime
    start_time: datetime
    plan: PlanStep | None = None


class Ledger(Protocol):
    """The gateway's memory of what it redeemed. All of it raises InterlockError: LEDGER_UNAVAILABLE."""

    async def redeem(self, redemption: Redemption) -> str | None:
        """Mark the token as used, durable on return. None for the first, else the first's execution_id.

        Where it raises, the token is not used and nothing may run. Raises also InterlockError: STEP_NOT_DUE, in the
        same transaction, for a step of a plan unless each step that it comes `after` succeeded here.
        """
        ...

    async def finish(self, outcome: Outcome) -> None:
        """Keep how a redeemed execution ended, durable on return, until it is delivered. Again is allowed.

        What there is of the result is forgotten then.
        """
        ...

    async def refuse(self, outcome: Outcome) -> None:
        """Keep a refusal until it is delivered; a second one of a token for one reason changes nothing.

        That of a token that is redeemed here is kept as TOKEN_ALREADY_REDEEMED, whatever it was: its call runs or
        ran, and no report may say that it never will.
        """
        ...


class Outbox(Protocol):
    """Outcomes that the decision service has not heard of yet. All of it raises InterlockError."""

    async def undelivered(self, limit: int) -> list[Outcome]:
        """Those that wait, oldest first."""
        ...

    async def delivered(self, outcome: Outcome) -> None:
        """The decision service has it."""
        ...

    async def undeliverable(self, outcome: Outcome, refusal: InterlockError) -> None:
        """The decision service will never take it; it is kept for a person to look at."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One permitted call. `idempotency_key` is the token's jti: the same is never given to two calls.

    `destinations` are where the arguments lead, as the token has it; `max_result_bytes` is the most that the
    connector has to read of an answer; `sandbox` is what an obligation demands of the place where it runs.
    """

    tool: Tool
    arguments: Mapping[str, Any]
    destinations: tuple[Destination, ...] = ()
    idempotency_key: str
    limit_seconds: float
    max_result_bytes: int
    sandbox: Sandbox | None = None
    progress: Progress | None = None


class PreparedCall(Protocol):
    """A call that can be made now: its server is there, its address resolved, its files open."""

    async def run(self) -> "ToolResult":
        """Make the call once, never again by itself, within its `limit_seconds`.

        Raises ToolOutcomeUnknown where it may or may not have run, also after `limit_seconds`. Cancelled, it tells
        the tool so where the protocol can.
        """
        ...

    async def close(self) -> None:
        """Let go of what was held for the call; also where it was never run. Never raises."""
        ...


@runtime_checkable
class Describable(Protocol):
    """A PreparedCall that can say more of what it would do than the tool and its arguments do."""

    def describe(self) -> Mapping[str, Any]:
        """What would be done, as JSON: the `argv` of a command, or `method` and `url` of a request."""
        ...


class ToolRunner(Protocol):
    """The way out to the tools."""

    async def ready(self, server: str) -> bool:
        """Whether the server can be called now; False too for a server that is not known."""
        ...

    async def prepare(self, call: ToolCall) -> PreparedCall:
        """Make sure that the call can be made exactly as it was decided; nothing of it is done yet.

        Raises InterlockError: TOOL_UNAVAILABLE, TOOL_DRIFTED, DESTINATION_CHANGED, ADDRESS_REFUSED,
        MALFORMED_ARGUMENTS or OBLIGATION_UNSUPPORTED.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered, as a JSON value, and whether it calls its answer an error.

    `usage` and `memory_writes` are what it says of them itself.
    """

    failed: bool
    value: Any
    usage: Usage | None = None
    memory_writes: tuple[MemoryWrite, ...] = ()


class ToolOutcomeUnknown(Exception):
    """The tool was called and no answer came: it may have run."""


class OutcomeSink(Protocol):
    """Where outcomes are delivered: the decision service."""

    async def deliver(self, outcome: Outcome) -> None:
        """Deliver once more; the same outcome again changes nothing. Raises InterlockError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedCall:
    """One tool call as a gateway proposes it for the agent that is connected to it.

    `arguments_json` is JSON in UTF-8, and what will be executed.
    """

    request_id: str
    session_id: str
    goal: str
    tool: str
    arguments_json: bytes = field(repr=False)


class Decisions(Protocol):
    """The decision service, asked by an agent with its own `credential`, which only passes through here."""

    async def decide(self, call: ProposedCall, credential: str) -> Decision:
        """The decision; the same again for the same request. Raises InterlockError: no decision was made."""
        ...

    async def wait(self, decision: Decision, credential: str, *, limit_seconds: float) -> Decision:
        """What an escalated decision comes to within so many seconds; itself, as it stands, where that is nothing yet.

        Raises InterlockError.
        """
        ...

    async def withdraw(self, decision: Decision, credential: str) -> None:
        """Take an escalated proposal back, so that nobody is asked any more. Raises InterlockError."""
        ...

    async def list_tools(self, gateway: str, credential: str) -> Sequence[str]:
        """Names of the gateway's tools that the agent could ever be allowed. Raises InterlockError."""
        ...


class Freezes(Protocol):
    """What a gateway knows of freezes."""

    def check(self, claims: Claims) -> None:
        """Raises InterlockError: TOKEN_FROZEN, or FREEZES_UNKNOWN where nothing was heard for too long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDrift:
    """A tool whose server lists it otherwise than the catalog pins it. `listed_digest` is empty where it is gone."""

    tool: str
    pinned_digest: str
    listed_digest: str


class ControlService(Protocol):
    """What a gateway tells the decision service of itself, and hears."""

    async def attend(self, obligations: Sequence[str], drifted: Sequence[ToolDrift]) -> Sequence[Freeze]:
        """What is frozen, or was until a short time ago. Raises InterlockError."""
        ...
