"""The results as Markdown, and where they go."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

from measure import Load
from processes import cpu_model, memory_gib
from servers import opa_version
from variants import GROWTH_AT_MOST_MIB, MEMORY_AT_MOST_MIB, TARGETS, VARIANTS, Target, Variant

_HEADER = (
    "what",
    "in flight",
    "decisions/s",
    "p50 ms",
    "p99 ms",
    "service CPU µs",
    "OPA CPU µs",
    "generator CPU µs",
    "service MiB",
    "OPA MiB",
)

Round = Mapping[str, Load]
"""What each variant measured, by its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory of the service, in MiB, after so many decisions in its life."""

    decisions: int
    service_mib: float
    opa_mib: float


def report(rounds: Sequence[Round], soak: Sequence[Memory], *, seconds: float) -> str:
    """The whole of it."""
    parts = (
        machine(),
        f"Rounds: {len(rounds)}, each row measured for {seconds:g} s in each. Medians over the rounds:",
        table(_HEADER, [row(variant, rounds) for variant in VARIANTS]),
        "\n".join(f"- {line}" for line in (*(told(target, rounds) for target in TARGETS), *memory(soak))),
    )
    return "\n\n".join(parts)


def machine() -> str:
    """Where it was measured, and with what."""
    cores = len(os.sched_getaffinity(0))
    versions = f"Python {platform.python_version()}, OPA {opa_version()}, grpcio {version('grpcio')}"
    return (
        f"Measured on {cores} cores ({cpu_model()}) with {memory_gib():.0f} GiB of memory, {platform.system()} "
        f"{platform.release().partition('-')[0]}; {versions}, uvloop {version('uvloop')}."
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def row(variant: Variant, rounds: Sequence[Round]) -> list[str]:
    """One line of the table: medians over the rounds; `-` for what has no part in it."""
    loads = [measured[variant.key] for measured in rounds]

    def of_process(pick: Callable[[Load], Mapping[str, float]], name: str) -> str:
        found = [pick(load)[name] for load in loads if name in pick(load)]
        return f"{median(found):,.0f}" if found else "-"

    return [
        variant.title,
        str(variant.in_flight),
        f"{median(load.rate for load in loads):,.0f}",
        f"{median(load.p50_ms for load in loads):.2f}",
        f"{median(load.p99_ms for load in loads):.2f}",
        *(of_process(lambda load: load.cpu_micros, name) for name in ("service", "opa", "generator")),
        *(of_process(lambda load: load.resident_mib, name) for name in ("service", "opa")),
    ]


def told(target: Target, rounds: Sequence[Round]) -> str:
    """A target, what was reached, and whether that does."""
    ratios = [measured[target.row].rate / measured[target.over].rate for measured in rounds]
    reached = median(ratios)
    spread = f"{reached:.2f} (rounds from {min(ratios):.2f} to {max(ratios):.2f})"
    verdict = met_or_missed(met=reached >= target.at_least)
    return f"{_name(target.row)} over {_name(target.over)}: {spread}; target ≥ {target.at_least:g}: {verdict}"


def memory(soak: Sequence[Memory]) -> list[str]:
    """What the service holds after how many decisions, and whether it stays so."""
    first, last = soak[0], soak[-1]
    growth = last.service_mib - first.service_mib
    readings = ", ".join(f"{reading.service_mib:.1f} MiB after {reading.decisions:,}" for reading in soak)
    held = f"{readings} decisions (its OPA at the end: {last.opa_mib:.1f} MiB)"
    met = met_or_missed(met=last.service_mib <= MEMORY_AT_MOST_MIB)
    flat = met_or_missed(met=growth <= GROWTH_AT_MOST_MIB)
    return [
        f"Memory of a new service: {held}; target ≤ {MEMORY_AT_MOST_MIB:g} MiB: {met}",
        f"Growth from the first reading to the last: {growth:+.1f} MiB; target ≤ {GROWTH_AT_MOST_MIB:g} MiB: {flat}",
    ]


def _name(key: str) -> str:
    variant = next(variant for variant in VARIANTS if variant.key == key)
    return f"{variant.title} at {variant.in_flight} in flight"


def met_or_missed(*, met: bool) -> str:
    """What the tables say of a target."""
    return "met" if met else "**missed**"
