"""The load generator: reads a Job as JSON from stdin, does it, and prints a Load as JSON.

It keeps as many calls in flight as the job says, each with an id and an argument that no other has. A call
that is answered with anything but an allow for each of its decisions ends the run.
"""

import asyncio
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import aiohttp
import grpc
import uvloop
from crowd import Crowd, Metadata, in_batches, one_by_one, unique
from measure import BATCH, Job, Load
from processes import cpu_seconds, resident_mib

from interlock.v1.decision_pb2 import Decision
from interlock.v1.decision_service_pb2 import DecideBatchResponse, DecideResponse

CALL_LIMIT_SECONDS = 30.0

Send = Callable[[], Awaitable[None]]
Call: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class NotAllowedError(Exception):
    """An answer without an allow."""


def main() -> None:
    """Do the job on stdin."""
    job = Job(**json.load(sys.stdin))
    load = uvloop.run(measure(job, Path(job.template).read_bytes()))
    json.dump(dataclasses.asdict(load), sys.stdout)


async def measure(job: Job, template: bytes) -> Load:
    """Warm up, then measure."""
    async with opened(job, template) as send:
        await drive(send, job.in_flight, seconds=job.warm_seconds, calls=job.calls)
        before = used(job)
        began = time.perf_counter()
        times = sorted(await drive(send, job.in_flight, seconds=job.seconds, calls=job.calls))
        seconds = time.perf_counter() - began
        after = used(job)
    decisions = len(times) * (BATCH if job.kind == "batch" else 1)
    return Load(
        decisions=decisions,
        seconds=seconds,
        p50_ms=percentile(times, 0.50) * 1e3,
        p99_ms=percentile(times, 0.99) * 1e3,
        cpu_micros={name: (after[name] - before[name]) / decisions * 1e6 for name in before},
        resident_mib={name: resident_mib(process_id) for name, process_id in job.watched.items()},
    )


async def drive(send: Send, in_flight: int, *, seconds: float, calls: int) -> list[float]:
    """Seconds that each call took; whoever has an answer sends the next, until time or calls run out."""
    times: list[float] = []
    turns = iter(range(calls))
    ends = time.perf_counter() + seconds

    async def take_turns() -> None:
        for _ in turns:
            began = time.perf_counter()
            if began >= ends:
                return
            await send()
            times.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as workers:
        for _ in range(in_flight):
            workers.create_task(take_turns())
    return times


def percentile(times: list[float], share: float) -> float:
    """The time that this share of the sorted times does not exceed (nearest rank)."""
    return times[min(len(times) - 1, int(len(times) * share))]


def used(job: Job) -> dict[str, float]:
    """Processor seconds of each process so far, and of this one."""
    watched = {name: cpu_seconds(process_id) for name, process_id in job.watched.items()}
    return watched | {"generator": time.process_time()}


@contextlib.asynccontextmanager
async def opened(job: Job, template: bytes) -> AsyncIterator[Send]:
    """What makes one call of the job's kind."""
    if job.kind == "opa":
        async with opa_session() as session:
            yield opa_call(session, job.address, unique(template))
        return
    crowd = Crowd(sessions=job.sessions, credentials=Path(job.credentials))
    async with grpc.aio.insecure_channel(job.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        if job.kind == "decide":
            yield decide_call(channel, one_by_one(template, crowd))
        else:
            yield batch_call(channel, in_batches(template, crowd))


def opa_session() -> aiohttp.ClientSession:
    """A session that does no more than it must; there are as many connections as calls in flight."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=CALL_LIMIT_SECONDS),
        auto_decompress=False,
    )


def opa_call(session: aiohttp.ClientSession, address: str, requests: Iterator[bytes]) -> Send:
    """One query of one decision."""
    url = f"http://{address}/v1/data/interlock/decision/result"

    async def send() -> None:
        async with session.post(url, data=next(requests)) as response:
            body = await response.read()
        if response.status != 200 or b'"verdict":"allow"' not in body:
            raise NotAllowedError(f"opa answered {response.status}")

    return send


def decide_call(channel: grpc.aio.Channel, requests: Iterator[tuple[Metadata, bytes]]) -> Send:
    """One call of Decide."""
    call: Call = channel.unary_unary("/interlock.v1.DecisionService/Decide")

    async def send() -> None:
        metadata, request = next(requests)
        reply = await call(request, timeout=CALL_LIMIT_SECONDS, metadata=metadata)
        check_allowed(DecideResponse.FromString(reply).decision)

    return send


def batch_call(channel: grpc.aio.Channel, requests: Iterator[tuple[Metadata, bytes]]) -> Send:
    """One call of DecideBatch."""
    call: Call = channel.unary_unary("/interlock.v1.DecisionService/DecideBatch")

    async def send() -> None:
        metadata, batch = next(requests)
        reply = await call(batch, timeout=CALL_LIMIT_SECONDS, metadata=metadata)
        results = DecideBatchResponse.FromString(reply).results
        if len(results) != BATCH:
            raise NotAllowedError(f"a batch of {BATCH} got {len(results)} results")
        for result in results:
            check_allowed(result.decision)

    return send


def check_allowed(decision: Decision) -> None:
    """Raises NotAllowedError, with the codes of the reasons."""
    if not decision.execution_token:
        codes = ", ".join(reason.code for reason in decision.reasons) or "no reason"
        raise NotAllowedError(f"a decision came without an execution token: {codes}")


if __name__ == "__main__":
    main()
