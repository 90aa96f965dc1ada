"""What approvals are measured in: a decision service on either store, with many that wait, agents and an approver."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import orjson
from credentials import approver, give_credentials, give_credentials_in
from crowd import MARKER, SESSION_MARKER, TENANT, Crowd, Metadata, gather, in_batches, one_by_one
from inputs import request
from policy_copies import for_many_approvals
from servers import PRODUCT, Server, git_catalog, make_place, running_service

from interlock.v1 import decision_service_pb2 as pb
from interlock.v1 import proposal_pb2
from interlock.v1.decision_pb2 import VERDICT_ESCALATE, Decision
from interlock.v1.decision_service_pb2_grpc import DecisionServiceStub

SESSIONS = 1_000
LIMIT_SECONDS = 30.0
BATCHES_IN_FLIGHT = 4
ROLE = "senior-approver"

# Each channel has a connection of its own, as each process has in earnest.
_CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalsPlace:
    """A service that runs, its agents, and what its approver sends with a call."""

    server: Server
    crowd: Crowd
    approver: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalated:
    """A decision that waits for people, and whose it is."""

    agent: Metadata
    decision: Decision


@contextlib.contextmanager
def serving(folder: Path, opa: Path, *, store: str) -> Iterator[ApprovalsPlace]:
    """A new service, on the PostgreSQL at `store`, or on SQLite where that is empty."""
    folder.mkdir(parents=True)
    place = make_place(folder / "place", opa, git_catalog(), policies=for_many_approvals(folder))
    crowd = gather(place, SESSIONS, store=store)
    callers = [approver(TENANT, "alice", ROLE)]
    [text] = (
        give_credentials_in(store, place.settings, callers)
        if store
        else give_credentials(place.settings, callers)
    )
    command = (*PRODUCT, "--store", store) if store else PRODUCT
    with running_service(place, command) as server:
        yield ApprovalsPlace(server=server, crowd=crowd, approver=(("authorization", f"Bearer {text}"),))


@asynccontextmanager
async def connected(made: ApprovalsPlace) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of one's own."""
    async with grpc.aio.insecure_channel(made.server.address, options=_CHANNEL_OPTIONS) as channel:
        yield channel


def allowed_requests(made: ApprovalsPlace) -> Iterator[tuple[Metadata, pb.DecideRequest]]:
    """Proposals that the policy allows, of each session in turns."""
    return _parsed(one_by_one(request().SerializeToString(), made.crowd))


def escalated_requests(made: ApprovalsPlace) -> Iterator[tuple[Metadata, pb.DecideRequest]]:
    """Proposals that a person must look at."""
    return _parsed(one_by_one(_escalated_request().SerializeToString(), made.crowd))


async def fill(made: ApprovalsPlace, count: int) -> list[Escalated]:
    """Let at least so many approvals wait: proposed in batches, decided by the real policy. Raises ValueError."""
    entry = pb.DecideBatchRequest(requests=[_escalated_request()]).SerializeToString()
    batches = in_batches(entry, made.crowd)
    found: list[Escalated] = []

    async def propose(channel: grpc.aio.Channel) -> None:
        service = DecisionServiceStub(channel)
        while len(found) < count:
            metadata, batch = next(batches)
            asked = pb.DecideBatchRequest.FromString(batch)
            answer = await service.DecideBatch(asked, metadata=metadata, timeout=LIMIT_SECONDS)
            found.extend(_escalated(metadata, [result.decision for result in answer.results]))

    async with connected(made) as channel, asyncio.TaskGroup() as proposers:
        for _ in range(BATCHES_IN_FLIGHT):
            proposers.create_task(propose(channel))
    return found


def spread(escalated: Sequence[Escalated], count: int) -> list[Escalated]:
    """So many of them, as far apart as can be."""
    return list(itertools.islice(escalated, 0, None, max(1, len(escalated) // count)))[:count]


def checked(metadata: Metadata, decision: Decision) -> Escalated:
    """The decision, which waits for an approval. Raises ValueError."""
    if decision.verdict != VERDICT_ESCALATE or not decision.approval_id:
        codes = ", ".join(reason.code for reason in decision.reasons) or "no reason"
        raise ValueError(f"a proposal of the benchmark does not wait for a person: {codes}")
    return Escalated(agent=metadata, decision=decision)


def _escalated(metadata: Metadata, decisions: Sequence[Decision]) -> list[Escalated]:
    return [checked(metadata, decision) for decision in decisions]


def _escalated_request() -> pb.DecideRequest:
    """A commit, which no role of a contributor grants without a person."""
    arguments = {"repo_path": "/srv/repositories/example", "message": f"say {MARKER} and what it is good for"}
    call = proposal_pb2.ToolCall(tool="git_commit", arguments_json=orjson.dumps(arguments))
    proposal = proposal_pb2.Proposal(session_id=SESSION_MARKER, goal="write it down", tool_call=call)
    return pb.DecideRequest(request_id=MARKER, proposal=proposal)


def _parsed(requests: Iterator[tuple[Metadata, bytes]]) -> Iterator[tuple[Metadata, pb.DecideRequest]]:
    return ((metadata, pb.DecideRequest.FromString(data)) for metadata, data in requests)
