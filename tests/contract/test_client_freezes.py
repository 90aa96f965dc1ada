"""Freezes through both clients, and a gateway's own questions, against one real gRPC server on loopback."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.client import Freeze, FreezeScope
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.freeze import FreezeScope as CoreScope
from interlock.ports import ToolDrift
from interlock.rpc import control_wire
from interlock.rpc.control_client import ControlClient
from interlock.v1 import control_service_pb2 as pb
from tests.contract.scripted_services import CREDENTIAL, Answer, Asker, Server, gives, hangs, raises
from tests.freezes import THE_AGENT, a_freeze, ended

BEGAN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
MESSAGE = pb.Freeze(
    log_index=50,
    scope=pb.FREEZE_SCOPE_AGENT,
    tenant="acme",
    name="coder",
    comment="it runs away",
    start_time=Timestamp(seconds=int(BEGAN.timestamp()), nanos=250_000_000),
)
FREEZE = Freeze(
    log_index=50,
    scope=FreezeScope.AGENT,
    tenant="acme",
    name="coder",
    comment="it runs away",
    start_time=BEGAN,
)


@pytest.fixture
async def gateway(server: Server) -> AsyncIterator[ControlClient]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield ControlClient(channel, credential=CREDENTIAL)


async def test_freezes_what_is_named(ask: Asker, server: Server) -> None:
    """What the operator names reaches the service with the credential, and the freeze that stands comes back."""
    server.control.freeze.steps.append(gives(pb.FreezeResponse(freeze=MESSAGE)))
    assert await ask("freeze", "agent", "coder", tenant="acme", comment="it runs away") == FREEZE
    assert server.control.freeze.asked == [
        pb.FreezeRequest(scope=pb.FREEZE_SCOPE_AGENT, tenant="acme", name="coder", comment="it runs away")
    ]
    assert server.authorizations["ControlService"] == [f"Bearer {CREDENTIAL}"]


async def test_ends_what_is_named(ask: Asker, server: Server) -> None:
    """A freeze is ended as it was named, and comes back with its end."""
    over = pb.Freeze(scope=pb.FREEZE_SCOPE_ALL, start_time=MESSAGE.start_time, end_time=MESSAGE.start_time)
    server.control.unfreeze.steps.append(gives(pb.UnfreezeResponse(freeze=over)))
    found = await ask("unfreeze", FreezeScope.ALL)
    assert (found.scope, found.end_time) == (FreezeScope.ALL, BEGAN)
    assert server.control.unfreeze.asked == [pb.UnfreezeRequest(scope=pb.FREEZE_SCOPE_ALL)]


async def test_lists_what_is_frozen(ask: Asker, server: Server) -> None:
    """All freezes come, also one whose scope this client does not know."""
    newer = pb.Freeze(scope=9, start_time=MESSAGE.start_time)  # type: ignore[arg-type]  # of a later version
    server.control.list_freezes.steps.append(gives(pb.ListFreezesResponse(freezes=[MESSAGE, newer])))
    found = await ask("list_freezes", "acme")
    assert (found[0], found[1].scope) == (FREEZE, FreezeScope.UNRECOGNIZED)
    assert server.control.list_freezes.asked == [pb.ListFreezesRequest(tenant="acme")]


@pytest.mark.parametrize("scope", ["unrecognized", "everything"])
async def test_a_scope_that_is_none_is_not_sent(ask: Asker, server: Server, scope: str) -> None:
    """What cannot be frozen is told before anything is sent."""
    for method in ("freeze", "unfreeze"):
        with pytest.raises(ValueError, match=scope):
            await ask(method, scope)
    assert server.control.freeze.asked == server.control.unfreeze.asked == []


async def test_a_freeze_is_asked_for_until_it_stands(ask: Asker, server: Server) -> None:
    """Freezing is tried again while the service is away, since doing so twice changes nothing."""
    server.control.freeze.steps.extend(
        [raises(ErrorReason.DECISION_LOG_UNAVAILABLE), gives(pb.FreezeResponse(freeze=MESSAGE))]
    )
    assert await ask("freeze", "agent", "coder") == FREEZE
    assert len(server.control.freeze.asked) == 2


async def test_says_what_to_do_where_nothing_is_frozen(ask: Asker, server: Server) -> None:
    """An operator who ends what is not there is told how to see what is."""
    server.control.unfreeze.steps.append(raises(ErrorReason.FREEZE_NOT_FOUND))
    assert "interlock freezes" in (await ask.error("unfreeze", "all")).diagnostics()


async def test_a_gateway_tells_and_hears(server: Server, gateway: ControlClient) -> None:
    """What a gateway can do and what it found reaches the service; what is frozen reaches the gateway whole."""
    over = ended(a_freeze(THE_AGENT))
    server.control.attend.steps.append(
        gives(pb.AttendResponse(freezes=[control_wire.freeze(a_freeze()), control_wire.freeze(over)]))
    )
    drift = ToolDrift(tool="git_log", pinned_digest="pinned", listed_digest="")
    assert await gateway.attend(("timeout",), (drift,)) == [a_freeze(), over]
    assert server.control.attend.asked == [
        pb.AttendRequest(
            obligations=["timeout"], drifted=[pb.ToolDrift(tool="git_log", pinned_digest="pinned")]
        )
    ]


async def test_a_scope_that_a_gateway_does_not_know_is_no_answer(
    server: Server, gateway: ControlClient
) -> None:
    """A gateway that cannot tell what a freeze covers has heard nothing (invariant 1)."""
    newer = pb.Freeze(scope=9, start_time=MESSAGE.start_time)  # type: ignore[arg-type]  # of a later version
    server.control.attend.steps.append(gives(pb.AttendResponse(freezes=[newer])))
    with pytest.raises(InterlockError, match="unknown scope"):
        await gateway.attend((), ())


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (raises(ErrorReason.CREDENTIAL_INVALID), ErrorReason.CREDENTIAL_INVALID),
        (raises(ErrorReason.DECISION_LOG_UNAVAILABLE), ErrorReason.DECISION_LOG_UNAVAILABLE),
        (hangs, ErrorReason.DEADLINE_EXCEEDED),
    ],
    ids=["refused", "away", "hangs"],
)
async def test_a_gateway_hears_why_it_hears_nothing(
    server: Server, gateway: ControlClient, step: Answer, reason: ErrorReason
) -> None:
    """A question ends with the service's reason, and one that hangs in less than the second (case 17)."""
    server.control.attend.otherwise = step
    with pytest.raises(InterlockError) as caught:
        await gateway.attend((), ())
    assert caught.value.reason is reason


def test_scopes_are_those_of_the_service() -> None:
    """The client knows every scope that the service does."""
    assert {*map(str, FreezeScope)} - {"unrecognized"} == {*map(str, CoreScope)}
