"""Replaying runs against a real decision service: a harness that proposes, and a gateway that reports.

Nothing is executed: what came of a call is what the data says. A run ends where a proposal gets no allow.
"""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from trajectories import Call, Run

from interlock.core.canonical import digest
from interlock.v1 import decision_pb2, outcome_pb2, proposal_pb2
from interlock.v1 import decision_service_pb2 as pb
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub

if TYPE_CHECKING:
    from interlock.v1.decision_service_pb2_grpc import DecisionServiceAsyncStub

AT_ONCE = 6
"""Few, so that the calls of one run follow each other at once: some rules speak of seconds."""

PATIENT_AT_ONCE = 32
"""Most of these wait."""

CALL_LIMIT_SECONDS = 30.0
EARLY_SECONDS = 0.5
SESSION = "session-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Credentials of a run's agent, and of the gateway that reports what came of its calls."""

    agent: str = field(repr=False)
    gateway: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where a run was stopped: the call's place, and how many identical ones it makes, itself counted."""

    place: int
    identical: int
    verdict: str
    retry_after: float | None
    reasons: tuple[tuple[str, str], ...]
    """Code and metadata of each reason; `retry_after` is in seconds, None where waiting does not help."""

    @property
    def codes(self) -> set[str]:
        """The codes of the reasons."""
        return {code for code, _ in self.reasons}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A run, and where it was stopped; None where it came through."""

    run: Run
    stop: Stop | None


async def replay_all(
    runs: Sequence[Run], casts: Sequence[Cast], address: str, *, patient: bool
) -> list[Replayed]:
    """Every run in a session of its own, several at a time. Raises grpc.RpcError: no decision was made.

    Who is patient waits where a deny says how long, and proposes the call again.
    """
    turns = asyncio.Semaphore(PATIENT_AT_ONCE if patient else AT_ONCE)
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: DecisionServiceAsyncStub = DecisionServiceStub(channel)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_replay(run, cast, stub, turns, patient=patient))
                for run, cast in zip(runs, casts, strict=True)
            ]
    return [task.result() for task in tasks]


async def _replay(
    run: Run, cast: Cast, stub: "DecisionServiceAsyncStub", turns: asyncio.Semaphore, *, patient: bool
) -> Replayed:
    async with turns:
        for place, call in enumerate(run.calls):
            decision = await _propose(run, place, cast, stub)
            while patient and (seconds := _retry_after(decision)) is not None:
                await asyncio.sleep(seconds)
                decision = await _propose(run, place, cast, stub)
            if decision.verdict != decision_pb2.VERDICT_ALLOW:
                return Replayed(run=run, stop=_stop(run, place, decision))
            if call.failed:
                await _early_in_a_second()
            await _report(call, decision, cast, stub)
    return Replayed(run=run, stop=None)


async def _early_in_a_second() -> None:
    """Return in the first half of a second of the clock.

    The service counts the whole seconds since a failure. A replay's calls take no time, so none may lie between this
    failure and the next call only because a second happened to end there.
    """
    begun = time.time() % 1
    if begun > EARLY_SECONDS:
        await asyncio.sleep(1 - begun)


async def _propose(
    run: Run, place: int, cast: Cast, stub: "DecisionServiceAsyncStub"
) -> decision_pb2.Decision:
    call = run.calls[place]
    proposal = proposal_pb2.Proposal(
        session_id=SESSION,
        goal=run.goal,
        tool_call=proposal_pb2.ToolCall(tool=call.tool, arguments_json=call.arguments_json),
    )
    request = pb.DecideRequest(request_id=str(uuid.uuid4()), proposal=proposal)
    response: pb.DecideResponse = await stub.Decide(
        request, metadata=_bearer(cast.agent), timeout=CALL_LIMIT_SECONDS, wait_for_ready=True
    )
    return response.decision


async def _report(
    call: Call, decision: decision_pb2.Decision, cast: Cast, stub: "DecisionServiceAsyncStub"
) -> None:
    """The call was made, and took no time: the data does not say how long it took."""
    now = Timestamp()
    now.GetCurrentTime()
    report = pb.ReportOutcomeRequest(
        execution_id=f"execution-{decision.request_id}",
        decision_id=decision.decision_id,
        token_id=_token_id(decision.execution_token),
        outcome=outcome_pb2.OUTCOME_FAILED if call.failed else outcome_pb2.OUTCOME_SUCCEEDED,
        result_digest=digest(call.result_json),
        result_json=call.result_json,
        start_time=now,
        end_time=now,
    )
    await stub.ReportOutcome(report, metadata=_bearer(cast.gateway), timeout=CALL_LIMIT_SECONDS)


def _stop(run: Run, place: int, decision: decision_pb2.Decision) -> Stop:
    return Stop(
        place=place,
        identical=run.identical(place),
        retry_after=_retry_after(decision),
        verdict=decision_pb2.Verdict.Name(decision.verdict).removeprefix("VERDICT_"),
        reasons=tuple((reason.code, reason.metadata_json.decode()) for reason in decision.reasons),
    )


def _retry_after(decision: decision_pb2.Decision) -> float | None:
    return decision.retry_after.ToMilliseconds() / 1e3 if decision.HasField("retry_after") else None


def _token_id(execution_token: str) -> str:
    claims = execution_token.split(".")[1]
    token_id: str = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]
    return token_id


def _bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)
