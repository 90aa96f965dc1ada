"""ApprovalService over a real gRPC server, on the real flows and the fakes under them."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest

from interlock.adapters.keyed_digest import KeyedDigest
from interlock.client import Approval, AsyncInterlock, InterlockCallError, ShownApproval
from interlock.core.decision import Decision
from interlock.core.identity import Caller, CallerKind, Credential, credential_text, hash_secret
from interlock.flows.authenticate import authenticate
from interlock.rpc.approval_servicer import ApprovalServicer
from interlock.rpc.endpoint import Deadlines, service_handler
from tests.approvals import ALICE, BOB
from tests.contract.scripted_services import Told
from tests.fakes import NOON, MemoryCredentials
from tests.proposals import AGENT, AUDITOR, GATEWAY, a_proposal
from tests.unit.flows.approval_world import World

SECRET = "s" * 43
USER = replace(AGENT, kind=CallerKind.USER, name="ann", roles=())
OPERATOR = replace(AGENT, kind=CallerKind.OPERATOR, name="olga", roles=())
NAMESAKE = replace(ALICE, name=AGENT.name)
DELEGATE = replace(ALICE, name="carol", roles=("approver", f"delegate-of-{AGENT.name}"))
STRANGER = replace(ALICE, tenant="globex", name="stan")
FIRST_OF_EACH_KIND = {each.kind: each for each in (AGENT, GATEWAY, AUDITOR, USER, OPERATOR, ALICE)}
CALLERS = {
    caller.name + caller.kind: replace(caller, credential_id=f"{number:016x}")
    for number, caller in enumerate([*FIRST_OF_EACH_KIND.values(), BOB, NAMESAKE, DELEGATE, STRANGER])
}


def credential_of(caller: Caller) -> str:
    return credential_text(CALLERS[caller.name + caller.kind].credential_id, SECRET)


def kept(caller: Caller) -> Credential:
    return Credential(caller=caller, secret_hash=hash_secret(SECRET), create_time=NOON)


@dataclass
class Service:
    """A running service with people to ask, and what it runs on."""

    world: World = field(
        default_factory=lambda: World(credentials=MemoryCredentials(*map(kept, CALLERS.values())))
    )
    address: str = ""

    def client(self, caller: Caller = ALICE) -> AsyncInterlock:
        return AsyncInterlock(self.address, credential=credential_of(caller))

    async def escalated(self, number: int = 1, **proposed: Any) -> Decision:
        """An escalated decision, of a call of its own unless it is said which."""
        arguments = proposed.pop("arguments", {"repo_path": f"/srv/{number}"})
        return await self.world.decide(a_proposal(f"r-{number}", arguments=arguments, **proposed))

    async def asked_again(self, number: int = 1) -> Decision:
        return await self.escalated(number)

    async def listed(self, caller: Caller = ALICE, **query: Any) -> list[Approval]:
        async with self.client(caller) as client:
            return [each async for each in client.approvals.list(**query)]

    async def shown(self, approval_id: str, caller: Caller = ALICE) -> ShownApproval:
        async with self.client(caller) as client:
            return await client.approvals.get(approval_id)

    async def resolve(
        self, seen: Approval | ShownApproval, resolution: str, caller: Caller = ALICE, **more: Any
    ) -> Any:
        async with self.client(caller) as client:
            return await client.approvals.resolve(seen, resolution, **more)

    async def refused(self, *args: Any, **more: Any) -> InterlockCallError:
        """The error of an answer."""
        with pytest.raises(InterlockCallError) as caught:
            await self.resolve(*args, **more)
        return caught.value


@contextlib.asynccontextmanager
async def approval_service() -> AsyncIterator[Service]:
    """The service, listening on loopback."""
    running = Service()
    approving = replace(running.world.parts, seal=KeyedDigest(bytes(32), "page-tokens"))
    _, handler = service_handler(
        ApprovalServicer(approving=approving),
        meter=Told(),
        deadlines=Deadlines(),
        authenticate=lambda authorization: authenticate(authorization, running.world.credentials),
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([handler])
    running.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield running
    await server.stop(None)
