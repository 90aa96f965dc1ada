"""Simulate how retries amplify the failure of a tool, with and without Interlock, on a simulated clock.

Prints the curves, and writes them into bench/README.md. The same code and policies give the same curves.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import uvloop
from marks import write_between_marks
from servers import SCRATCH, locate_opa
from storm_agents import AgentPlan
from storm_door import interlock_door
from storm_report import Variant, report
from storm_simulation import Curves, OpenDoor, Plan, simulate
from storm_tool import ToolPlan

from interlock.compose.service_log import configure_logging
from interlock.compose.user_errors import USER_ERRORS

PLAN = Plan()
QUICK_PLAN = Plan(agents=10, seconds=90.0, tool=ToolPlan(capacity=3, fault_begins=10.0, fault_ends=25.0))


def main() -> None:
    """Simulate, print and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    configure_logging()
    try:
        text = report(uvloop.run(simulate_all(QUICK_PLAN if options.quick else PLAN, options.folder)))
    except USER_ERRORS as error:
        sys.exit(f"storm: {error}")
    print(text)
    if not options.no_write:
        write_between_marks("storm", text)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few agents, to see that all works")
    parser.add_argument("--no-write", action="store_true", help="leave bench/README.md as it is")
    parser.add_argument("--folder", type=Path, default=SCRATCH, help="folder for the stores")
    return parser.parse_args()


async def simulate_all(plan: Plan, folder: Path) -> list[Variant]:
    """Without Interlock, with it, and with it where the agents do not wait as they are told."""
    rude = replace(plan, agent=AgentPlan(honours_retry_after=False))
    return [
        Variant(title="without", curves=await simulate(plan, OpenDoor())),
        Variant(title="with", curves=await simulate_guarded(plan, folder)),
        Variant(title="with, but agents do not wait", curves=await simulate_guarded(rude, folder)),
    ]


async def simulate_guarded(plan: Plan, folder: Path) -> Curves:
    """With Interlock, on a store that is gone afterwards."""
    opa = locate_opa()
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        async with interlock_door(Path(scratch), opa) as door:
            return await simulate(plan, door)


if __name__ == "__main__":
    main()
