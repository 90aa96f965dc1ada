"""Replay real models' runs through a real decision service, and tell which of them its rules stop.

Prints the results, and writes them into bench/README.md. Ends with 1 where a target is missed.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import credentials
import grpc
from loops_report import missed, report
from marks import write_between_marks
from policy_copies import with_role
from replay import Cast, Replayed, replay_all
from servers import SCRATCH, NotServingError, Place, locate_opa, make_place, running_service
from trajectories import Run, Trajectories, read_trajectories

from interlock.adapters.opa_binary import OpaError
from interlock.core.catalog import CatalogFile, Effect, ResultTrust
from interlock.core.catalog_import import import_tools

GATEWAY = "gateway-1"
ROLE = "replayed"
QUICK_OTHERS = 40


def main() -> None:
    """Replay, print and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    trajectories = read_trajectories(others=QUICK_OTHERS if options.quick else None)
    began = time.monotonic()
    try:
        replayed = replay(trajectories, trajectories.runs, options.folder, patient=False)
        looping = [run for run in trajectories.runs if run.loops]
        patiently = replay(trajectories, looping, options.folder, patient=True)
    except* (OpaError, NotServingError, grpc.RpcError) as errors:
        sys.exit(f"loops: {errors.exceptions[0]}")
    text = report(trajectories, replayed, patiently, seconds=time.monotonic() - began)
    print(text)
    if not options.no_write:
        write_between_marks("loops", text)
    if missed(replayed):
        sys.exit(1)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="those that loop, and a few others")
    parser.add_argument("--no-write", action="store_true", help="leave bench/README.md as it is")
    parser.add_argument("--folder", type=Path, default=SCRATCH, help="folder for the store")
    return parser.parse_args()


def replay(trajectories: Trajectories, runs: Sequence[Run], folder: Path, *, patient: bool) -> list[Replayed]:
    """These runs, each of a tenant of its own. Raises OpaError, NotServingError, grpc.RpcError."""
    opa = locate_opa()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = open_place(Path(scratch), opa, trajectories.tools)
        casts = cast_all(place, runs)
        with running_service(place) as service:
            return asyncio.run(replay_all(runs, casts, service.address, patient=patient))


def open_place(scratch: Path, opa: Path, tools: Sequence[str]) -> Place:
    """Settings, the catalog of these tools, and the stock policies with a role that grants all of them."""
    policies = with_role(scratch, ROLE, tools=tools, effects=[effect.value for effect in Effect])
    return make_place(scratch / "place", opa, catalog(tools), policies=policies)


def catalog(tools: Sequence[str]) -> CatalogFile:
    """As `interlock catalog import` makes it of a server without hints, with results that can be trusted.

    No attacker wrote into the results of these runs, whose texts the data does not have.
    """
    listed = [{"name": name, "inputSchema": {"type": "object"}} for name in tools]
    imported = import_tools(listed, gateway=GATEWAY, server="emulated")
    entries = [entry.model_copy(update={"results": ResultTrust.TRUSTED}) for entry in imported.tools]
    return imported.model_copy(update={"tools": tuple(entries)})


def cast_all(place: Place, runs: Sequence[Run]) -> list[Cast]:
    """An agent and a gateway for each run, in a tenant of their own: no run knows of another."""
    tenants = [f"run-{run.number}" for run in runs]
    agents = [credentials.agent(tenant, "agent-1", ROLE) for tenant in tenants]
    gateways = [credentials.gateway(tenant, GATEWAY) for tenant in tenants]
    texts = credentials.give_credentials(place.settings, [*agents, *gateways])
    return [
        Cast(agent=agent, gateway=gateway)
        for agent, gateway in zip(texts[: len(runs)], texts[len(runs) :], strict=True)
    ]


if __name__ == "__main__":
    main()
