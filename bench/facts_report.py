"""What session state costs, as Markdown, next to what it may cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from facts_load import ASKED, COMPOSITIONS, COUNTED, WITH, WITHOUT, Asked, Composition, Loads
from facts_memory import Weight
from facts_state import STEPS, Cost
from facts_stores import StateResults
from measure import BATCH, Load
from report import machine, met_or_missed, table

OBSERVE_AT_MOST_MICROS = 60.0
RATE_AT_LEAST = 0.75
SESSION_AT_MOST_BYTES = 8 * 1024

_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was measured. `scaled` are rounds by count of live sessions; the first store is SQLite."""

    live_sessions: int
    steps_weighed: int
    stores: Sequence[StateResults]
    compared: Sequence[Loads]
    scaled: Mapping[int, Sequence[Loads]]


def report(results: Results) -> str:
    """The whole of it."""
    parts = (
        machine(),
        _costs(results),
        _statements(results),
        _compared(results),
        _scaled(results),
        _weights(results),
        _kept(results),
        "\n".join(f"- {line}" for line in _targets(results)),
    )
    return "\n\n".join(parts)


def _costs(results: Results) -> str:
    header = ("store", "count a proposal", "take reservations", "settle an outcome", "PostgreSQL itself")
    return (
        f"Processor time of the service's process in µs for each, in batches of {BATCH} over "
        f"{results.live_sessions:,} live sessions at some {STEPS} steps each; medians over "
        f"{len(results.stores[0].costs)} rounds. *PostgreSQL itself* is the server's own, for all three:\n\n"
        f"{table(header, [_cost_row(store) for store in results.stores])}"
    )


def _cost_row(store: StateResults) -> list[str]:
    def spread(pick: Callable[[Cost], float]) -> str:
        values = [pick(cost) for cost in store.costs]
        return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"

    return [
        store.title,
        spread(lambda cost: cost.observe),
        spread(lambda cost: cost.grant),
        spread(lambda cost: cost.settle),
        f"{median(store.server_micros):.1f}" if store.server_micros else "-",
    ]


def _statements(results: Results) -> str:
    rows = [
        [f"`{statement}`", f"{count:g}"]
        for store in results.stores
        for statement, count in store.statements.items()
    ]
    return (
        f"Statements that PostgreSQL logs of counting one batch of {BATCH}, each a round trip but for `SET`, which "
        f"goes with `BEGIN`:\n\n{table(('statement', 'a batch'), rows)}"
    )


def _compared(results: Results) -> str:
    header = (
        "what",
        "in flight",
        "service",
        "decisions/s",
        "p50 ms",
        "p99 ms",
        "service CPU µs",
        "OPA CPU µs",
    )
    rows = [
        [
            asked.title,
            str(asked.in_flight),
            composition.title,
            *_figures(results.compared, composition, asked),
        ]
        for asked in ASKED
        for composition in COMPOSITIONS
    ]
    return (
        f"Three services side by side, in {len(results.compared)} alternating rounds, with "
        f"{results.live_sessions:,} live sessions:\n\n{table(header, rows)}"
    )


def _scaled(results: Results) -> str:
    header = (
        "live sessions",
        "what",
        "decisions/s",
        "p50 ms",
        "p99 ms",
        "service CPU µs",
        "OPA CPU µs",
        "service MiB",
    )
    rows = [
        [f"{sessions:,}", asked.title, *_figures(rounds, WITH, asked), _resident(rounds, asked)]
        for sessions, rounds in results.scaled.items()
        for asked in ASKED
    ]
    return f"The service with facts and all topics, by live sessions:\n\n{table(header, rows)}"


def _figures(rounds: Sequence[Loads], composition: Composition, asked: Asked) -> list[str]:
    loads = [loads[composition.key, asked.kind] for loads in rounds]

    def middle(pick: Callable[[Load], float]) -> float:
        return median(map(pick, loads))

    return [
        f"{middle(lambda load: load.rate):,.0f}",
        f"{middle(lambda load: load.p50_ms):.2f}",
        f"{middle(lambda load: load.p99_ms):.2f}",
        f"{middle(lambda load: load.cpu_micros['service']):,.0f}",
        f"{middle(lambda load: load.cpu_micros['opa']):,.0f}",
    ]


def _resident(rounds: Sequence[Loads], asked: Asked) -> str:
    return f"{median(loads[WITH.key, asked.kind].resident_mib['service'] for loads in rounds):,.0f}"


def _weights(results: Results) -> str:
    header = ("store", "live sessions", "MiB", "KiB a session", "KiB for each session more")
    rows = [row for store in results.stores for row in _weight_rows(store)]
    return (
        f"What the store takes for sessions of {results.steps_weighed} steps without result texts, a step every 30 s, "
        "their agents, operations, budgets and all other cells counted, and what is over forgotten:\n\n"
        f"{table(header, rows)}"
    )


def _weight_rows(store: StateResults) -> list[list[str]]:
    before = [None, *store.weights[:-1]]
    return [
        [
            store.title,
            f"{weight.sessions:,}",
            f"{weight.size / _KIB**2:,.1f}",
            f"{weight.of_session / _KIB:.2f}",
            f"{_growth(earlier, weight) / _KIB:.2f}",
        ]
        for earlier, weight in zip(before, store.weights, strict=True)
    ]


def _growth(earlier: Weight | None, later: Weight) -> float:
    """Bytes for each session that came to the earlier ones."""
    if earlier is None:
        return later.of_session
    return (later.size - earlier.size) / (later.sessions - earlier.sessions)


def _kept(results: Results) -> str:
    rows = [
        [f"`{kept.kind}`", f"{kept.cells:.2f}", f"{kept.size:,.0f}"]
        for store in results.stores
        for kept in store.kept
    ]
    return (
        "Of which, by kind of cell, keys and contents without what the store needs around them (SQLite, the most "
        f"sessions):\n\n{table(('cells', 'a session', 'bytes a session'), rows)}"
    )


def _targets(results: Results) -> list[str]:
    sqlite = results.stores[0]
    observe = median(cost.observe for cost in sqlite.costs)
    heaviest = max(store.weights[-1].of_session for store in results.stores)
    return [
        _target("Counting a proposal on SQLite", f"{observe:.1f} µs", f"≤ {OBSERVE_AT_MOST_MICROS:g} µs")
        + met_or_missed(met=observe <= OBSERVE_AT_MOST_MICROS),
        *(_rate_target(results, asked, over) for asked in ASKED for over in (WITHOUT, COUNTED)),
        _target(
            "Memory a live session", f"{heaviest / _KIB:.2f} KiB", f"≤ {SESSION_AT_MOST_BYTES / _KIB:g} KiB"
        )
        + met_or_missed(met=heaviest <= SESSION_AT_MOST_BYTES),
    ]


def _rate_target(results: Results, asked: Asked, over: Composition) -> str:
    """The ratio to the service that only lacks the topics is told without a target: it says what OPA costs."""
    ratios = [
        loads[WITH.key, asked.kind].rate / loads[over.key, asked.kind].rate for loads in results.compared
    ]
    spread = f"{median(ratios):.2f} (rounds from {min(ratios):.2f} to {max(ratios):.2f})"
    name = f"{asked.title}, {WITH.title}, over {over.title}"
    if over is not WITHOUT:
        return f"{name}: {spread}"
    return _target(name, spread, f"≥ {RATE_AT_LEAST:g}") + met_or_missed(met=median(ratios) >= RATE_AT_LEAST)


def _target(name: str, reached: str, target: str) -> str:
    return f"{name}: {reached}; target {target}: "
