"""Measure the decision service against OPA alone and against a bare gRPC server, in one run on this machine.

Prints the results, and writes them into bench/README.md.
"""

import argparse
import contextlib
import math
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crowd import Crowd, gather
from inputs import Inputs, decide_first, write_inputs
from marks import write_between_marks
from measure import BATCH, Job, Load, run_load
from policy_copies import for_load
from report import Memory, Round, report
from servers import (
    SCRATCH,
    NotServingError,
    Place,
    Server,
    git_catalog,
    locate_opa,
    make_place,
    running_echo,
    running_opa,
    running_service,
)
from variants import VARIANTS, Variant

from interlock.adapters.opa_binary import OpaError

SESSIONS = 10_000
SOAK_SHARES = (0.1, 0.5, 1.0)
LONGEST_SECONDS = 3600.0
PLAN = {"rounds": 5, "seconds": 5.0, "soak": 100_000}
QUICK_PLAN = {"rounds": 1, "seconds": 0.1, "soak": 640}


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """All servers that are asked, by name, and what they are asked."""

    by_name: Mapping[str, Server]
    inputs: Inputs
    crowd: Crowd


def main() -> None:
    """Measure, print and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    try:
        text = measure_all(options)
    except (OpaError, NotServingError) as error:
        sys.exit(f"bench: {error}")
    print(text)
    if not options.no_write:
        write_between_marks("results", text)


def measure_all(options: argparse.Namespace) -> str:
    """Everything, in a folder that is gone afterwards. Raises OpaError, NotServingError."""
    opa = locate_opa()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        catalog, policies = git_catalog(), for_load(Path(scratch), of_state=True)
        place = make_place(Path(scratch) / "rounds", opa, catalog, policies=policies)
        rounds = measure_rounds(place, options.rounds, options.seconds)
        place = make_place(Path(scratch) / "soak", opa, catalog, policies=policies)
        soak = measure_soak(place, options.soak)
    return report(rounds, soak, seconds=options.seconds)


def parse() -> argparse.Namespace:
    """The options; `--quick` changes what is not given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all works")
    parser.add_argument("--no-write", action="store_true", help="leave bench/README.md as it is")
    parser.add_argument("--rounds", type=int, help="how often each row is measured, in turns")
    parser.add_argument("--seconds", type=float, help="how long each row is measured in a round")
    parser.add_argument("--soak", type=int, help="decisions after which memory is read last")
    parser.add_argument(
        "--folder",
        type=Path,
        default=SCRATCH,
        help="folder for the stores; on a disk, for in memory an fsync costs nothing",
    )
    given, _ = parser.parse_known_args()
    parser.set_defaults(**(QUICK_PLAN if given.quick else PLAN))
    return parser.parse_args()


def measure_rounds(place: Place, count: int, seconds: float) -> list[Round]:
    """Every variant in turns, so that a busy minute of the machine meets all of them alike."""
    with running_all(place) as servers:
        return [measure_round(servers, f"round {number + 1}", seconds) for number in range(count)]


def measure_round(servers: Servers, name: str, seconds: float) -> Round:
    """Every variant once."""
    return {variant.key: measure_variant(servers, variant, name, seconds) for variant in VARIANTS}


def measure_variant(servers: Servers, variant: Variant, name: str, seconds: float) -> Load:
    """One variant, warmed up for a fifth of its time."""
    server = servers.by_name[variant.server]
    job = Job(
        kind=variant.kind,
        address=server.address,
        template=str(servers.inputs.templates[variant.kind]),
        in_flight=variant.in_flight,
        watched=server.watched,
        seconds=seconds,
        warm_seconds=seconds / 5,
        credentials=str(servers.crowd.credentials),
        sessions=servers.crowd.sessions,
    )
    load = run_load(job)
    progress(f"{name}: {variant.title} at {variant.in_flight}: {load.rate:,.0f}/s")
    return load


@contextlib.contextmanager
def running_all(place: Place) -> Iterator[Servers]:
    """The service, a bare server that answers as it does, and an OPA that runs as the service's own."""
    crowd = gather(place, SESSIONS)
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running_service(place))
        inputs = make_inputs(place, service, crowd)
        by_name = {
            "service": service,
            "echo": stack.enter_context(running_echo(place.folder, inputs.reply)),
            "opa": stack.enter_context(running_opa(place.folder, service.watched["opa"])),
        }
        yield Servers(by_name=by_name, inputs=inputs, crowd=crowd)


def make_inputs(place: Place, service: Server, crowd: Crowd) -> Inputs:
    """From the service's first decision."""
    answer = decide_first(service.address, crowd.read()[0])
    shown = place.interlock("log", "show", str(answer.decision.log_index))
    return write_inputs(place.folder, answer, shown)


def measure_soak(place: Place, decisions: int) -> list[Memory]:
    """The memory of a new service, read on the way to so many decisions through DecideBatch."""
    crowd = gather(place, SESSIONS)
    with running_service(place) as service:
        template = str(make_inputs(place, service, crowd).templates["batch"])
        readings: list[Memory] = []
        made = 0
        for share in SOAK_SHARES:
            job = Job(
                kind="batch",
                address=service.address,
                template=template,
                in_flight=4,
                watched=service.watched,
                seconds=LONGEST_SECONDS,
                calls=max(1, math.ceil((decisions * share - made) / BATCH)),
                credentials=str(crowd.credentials),
                sessions=crowd.sessions,
            )
            load = run_load(job)
            made += load.decisions
            progress(f"memory: {made:,} decisions at {load.rate:,.0f}/s")
            readings.append(reading(made, load))
        return readings


def reading(decisions: int, load: Load) -> Memory:
    """The memory at the end of a load."""
    mib = load.resident_mib
    return Memory(decisions=decisions, service_mib=mib["service"], opa_mib=mib["opa"])


def progress(text: str) -> None:
    """Say on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
