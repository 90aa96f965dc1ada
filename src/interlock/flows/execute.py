"""The story of one execution: a token's one use, whose end is on record before anybody hears of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count

from interlock.core import dry_run, token
from interlock.core.catalog import Catalog
from interlock.core.destinations import ResolvePath
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import Call, ExecutionResult, Permitted, Progress, check_files, permit
from interlock.core.named_files import paths_of
from interlock.core.obligations import Met, Obliged
from interlock.core.outcome import Outcome, OutcomeKind, Usage
from interlock.core.token import Claims, ExpectedBy
from interlock.ports import (
    Clock,
    Describable,
    FileDigests,
    Freezes,
    Identifiers,
    Ledger,
    PreparedCall,
    PublishedKeys,
    Redemption,
    ToolCall,
    ToolOutcomeUnknown,
    ToolResult,
    ToolRunner,
)

NO_VERDICT_ON_THE_CALL = frozenset(
    {
        ErrorReason.FREEZES_UNKNOWN,
        ErrorReason.LEDGER_UNAVAILABLE,
        ErrorReason.STEP_NOT_DUE,
        ErrorReason.TOOL_UNAVAILABLE,
    }
)
"""Nothing was refused: the same token may be presented again."""


Withdrawn = asyncio.Event | None
"""Set when a caller no longer wants its call; None where its protocol cannot say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What executing needs of the world.

    `limit_seconds` is the most that a tool gets, whatever an obligation allows; `resolve` finds where a path leads,
    `files` what is in the file there;
    `delays` gives the seconds to wait after so many failures to keep an outcome; `after_outcome` is called when
    there is one more to deliver.
    """

    keys: PublishedKeys
    expected: ExpectedBy
    catalog: Catalog
    ledger: Ledger
    tools: ToolRunner
    freezes: Freezes
    resolve: ResolvePath
    files: FileDigests
    clock: Clock
    identifiers: Identifiers
    limit_seconds: float
    delays: Callable[[int], float]
    after_outcome: Callable[[], None]


class Executor:
    """Executes calls. What has begun goes on to its end, also when its caller is gone (invariant 8)."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._running: set[asyncio.Task[ExecutionResult]] = set()

    async def execute(self, call: Call) -> ExecutionResult:
        """As the function `execute`; cancelling it takes away who listens, and nothing else."""
        return await asyncio.shield(self._begin(call, None))

    async def execute_unless_withdrawn(self, call: Call) -> ExecutionResult:
        """The same for a caller whose protocol can withdraw a call: cancelling it cancels the call at its tool too.

        The outcome is kept all the same: what the tool had answered by then, else unknown.
        """
        withdrawn = asyncio.Event()
        try:
            return await asyncio.shield(self._begin(call, withdrawn))
        except asyncio.CancelledError:
            withdrawn.set()
            raise

    async def drain(self) -> None:
        """Return when everything that has begun has ended."""
        while self._running:
            await asyncio.wait(set(self._running))

    def _begin(self, call: Call, withdrawn: Withdrawn) -> asyncio.Task[ExecutionResult]:
        task = asyncio.ensure_future(execute(call, self._gateway, withdrawn))
        self._running.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[ExecutionResult]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where nobody listens any more


async def execute(call: Call, gateway: Gateway, withdrawn: Withdrawn = None) -> ExecutionResult:
    """Run the call that the token permits, once; `withdrawn` tells that its caller no longer wants it.

    Raises InterlockError: a TOKEN_* reason, CALL_MISMATCH, MALFORMED_ARGUMENTS, CATALOG_MISMATCH,
    DESTINATION_CHANGED, FILE_CHANGED, ADDRESS_REFUSED, TOOL_DRIFTED or OBLIGATION_UNSUPPORTED where it is refused,
    which is reported once for each token and reason, and of a token that was redeemed here only as
    TOKEN_ALREADY_REDEEMED; one of NO_VERDICT_ON_THE_CALL where it may be tried again. Nothing ran then.
    """
    await gateway.keys.ensure(token.key_id(call.execution_token))
    claims = token.authenticate(call.execution_token, gateway.keys)
    token.check_place(claims, gateway.expected)  # another gateway's token is not ours to report
    try:
        return await _redeem_and_run(call, claims, gateway, withdrawn)
    except InterlockError as refusal:
        if refusal.reason not in NO_VERDICT_ON_THE_CALL:
            await _report(refusal, claims, gateway)
        raise


async def _redeem_and_run(
    call: Call, claims: Claims, gateway: Gateway, withdrawn: Withdrawn
) -> ExecutionResult:
    now = gateway.clock.now()
    token.check_time(claims, reference_time=now, leeway=gateway.expected.leeway)
    gateway.freezes.check(claims)
    permitted = permit(call, claims, gateway.catalog, gateway.resolve)
    prepared = await gateway.tools.prepare(_tool_call(call, permitted, claims, gateway))
    try:
        await _check_files(permitted, claims, gateway)
        return await _redeem(prepared, permitted, claims, gateway, withdrawn)
    finally:
        await prepared.close()


async def _check_files(permitted: Permitted, claims: Claims, gateway: Gateway) -> None:
    """Last of all that is looked at, so that little can change before the tool opens them. Raises FILE_CHANGED."""
    if claims.files is not None:
        paths = paths_of(permitted.tool, permitted.destinations)
        check_files(await gateway.files.digests(paths), claims)


def _tool_call(call: Call, permitted: Permitted, claims: Claims, gateway: Gateway) -> ToolCall:
    obliged = permitted.obligations
    return ToolCall(
        tool=permitted.tool,
        arguments=permitted.arguments,
        destinations=permitted.destinations,
        idempotency_key=claims.jti,
        limit_seconds=obliged.time_limit(longest=gateway.limit_seconds),
        max_result_bytes=obliged.max_result_bytes,
        sandbox=obliged.sandbox,
        progress=_without_words(call.progress) if call.progress and obliged.clears else call.progress,
    )


def _without_words(progress: Progress) -> Progress:
    """Who may not see all of the answer hears how far the call is, and not what the tool says of it."""

    async def tell(done: float, total: float | None, _: str) -> None:
        await progress(done, total, "")

    return tell


async def _redeem(
    prepared: PreparedCall, permitted: Permitted, claims: Claims, gateway: Gateway, withdrawn: Withdrawn
) -> ExecutionResult:
    """From the moment that the token is marked, its call runs at most once (invariant 8)."""
    redemption = Redemption(
        token_id=claims.jti,
        execution_id=gateway.identifiers.new(),
        decision_id=claims.decision_id,
        tool=claims.tool,
        expire_time=token.expire_time(claims),
        start_time=gateway.clock.now(),
        plan=claims.plan,
    )
    gateway.freezes.check(claims)  # again: preparing may have taken longer than a freeze may
    if (first := await gateway.ledger.redeem(redemption)) is not None:
        raise _already_redeemed(first)
    return await _run(prepared, permitted, redemption, gateway, withdrawn)


async def _run(
    prepared: PreparedCall,
    permitted: Permitted,
    redemption: Redemption,
    gateway: Gateway,
    withdrawn: Withdrawn,
) -> ExecutionResult:
    """From here on, every way out leaves an outcome (invariant 8)."""
    obliged, data = permitted.obligations, b""
    limit = obliged.time_limit(longest=gateway.limit_seconds)
    try:
        result = await _answer(prepared, permitted, withdrawn)
        ended = _outcome(redemption, gateway)
        met = await _meet(obliged, result, limit=limit)
    except ToolOutcomeUnknown:
        outcome = replace(_outcome(redemption, gateway), obligation_results=obliged.unanswered(limit=limit))
    except Exception:
        await _keep(_outcome(redemption, gateway), gateway)
        raise
    else:
        outcome, data = _answered(ended, result, met), met.encoded.data
    await _keep(outcome, gateway)
    return ExecutionResult(
        execution_id=redemption.execution_id,
        kind=outcome.kind,
        result_json=data,
        obligation_results=outcome.obligation_results,
    )


async def _answer(prepared: PreparedCall, permitted: Permitted, withdrawn: Withdrawn) -> ToolResult:
    """The tool's, or what there is to say of a call that may not run."""
    if not permitted.obligations.is_dry:
        return await (prepared.run() if withdrawn is None else _run_unless(withdrawn, prepared))
    described = prepared.describe() if isinstance(prepared, Describable) else {}
    answer = dry_run.answer(permitted.tool, permitted.arguments, described)
    return ToolResult(failed=False, value=answer, usage=dry_run.NOTHING_USED)


async def _run_unless(withdrawn: asyncio.Event, prepared: PreparedCall) -> ToolResult:
    """Run it, and cancel it at its tool once it is withdrawn. Raises ToolOutcomeUnknown then: it may have run."""
    running, told = asyncio.ensure_future(prepared.run()), asyncio.ensure_future(withdrawn.wait())
    try:
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        running.cancel()  # of what has ended, it changes nothing
    await asyncio.wait({running})
    if running.cancelled():
        raise ToolOutcomeUnknown("the call was withdrawn")
    return running.result()


async def _meet(obliged: Obliged, result: ToolResult, *, limit: float) -> Met:
    if not obliged.clears:
        return obliged.meet(result.value, result.memory_writes, limit=limit)
    # Looking through megabytes takes up to seconds, in which others go on.
    return await asyncio.to_thread(obliged.meet, result.value, result.memory_writes, limit=limit)


async def _keep(outcome: Outcome, gateway: Gateway) -> None:
    """Durable on return. A ledger that is away is waited for: what ran cannot be told as if it had not."""
    for failures in count():
        try:
            await gateway.ledger.finish(outcome)
        except InterlockError:
            await asyncio.sleep(gateway.delays(failures))
        else:
            gateway.after_outcome()
            return


async def _report(refusal: InterlockError, claims: Claims, gateway: Gateway) -> None:
    """A refused token of ours is a security event (case 26)."""
    now = gateway.clock.now()
    await gateway.ledger.refuse(
        Outcome(
            execution_id=gateway.identifiers.new(),
            decision_id=claims.decision_id,
            token_id=claims.jti,
            kind=OutcomeKind.REFUSED,
            result_digest="",
            refusal=refusal.reason,
            start_time=now,
            end_time=now,
        )
    )
    gateway.after_outcome()


def _outcome(redemption: Redemption, gateway: Gateway) -> Outcome:
    """How it ends here and now, where nothing is known of an answer."""
    return Outcome(
        execution_id=redemption.execution_id,
        decision_id=redemption.decision_id,
        token_id=redemption.token_id,
        kind=OutcomeKind.UNKNOWN,
        result_digest="",
        refusal="",
        start_time=redemption.start_time,
        end_time=gateway.clock.now(),
    )


def _answered(outcome: Outcome, result: ToolResult, met: Met) -> Outcome:
    """The same, where the tool answered; nothing of its answer but what may leave the gateway."""
    # A clock that was set back makes no negative time (case 22).
    ran = max(outcome.end_time - outcome.start_time, timedelta())
    used = result.usage or Usage()
    return replace(
        outcome,
        kind=OutcomeKind.FAILED if result.failed else OutcomeKind.SUCCEEDED,
        result_digest=met.encoded.digest,
        result=met.encoded.excerpt,
        result_truncated=met.encoded.truncated,
        usage=replace(used, compute_milliseconds=ran // timedelta(milliseconds=1)),
        memory_writes=met.memory_writes,
        obligation_results=met.results,
    )


def _already_redeemed(execution_id: str) -> InterlockError:
    return InterlockError(
        reason=ErrorReason.TOKEN_ALREADY_REDEEMED,
        message=f"the token was redeemed before, in execution `{execution_id}`",
        metadata={"execution_id": execution_id},
    )
