"""What was stopped, as Markdown, next to what should have been."""

from collections import Counter
from collections.abc import Sequence

from replay import Replayed, Stop
from report import machine, table
from trajectories import LOOPS_FROM, Trajectories

STOPPED_BY = 4
"""A looping run must be stopped at its fourth identical call, or before."""

WRONG_AT_MOST = 0.005
"""Of the runs that do not loop."""


def report(
    trajectories: Trajectories, replayed: Sequence[Replayed], patiently: Sequence[Replayed], *, seconds: float
) -> str:
    """The whole of it."""
    looping, other = _split(replayed)
    parts = [
        f"{machine()} {len(replayed)} runs with {_calls(replayed):,} calls replayed in {seconds:.0f} s.",
        _adapted(trajectories),
        table(
            ("runs", "count", "stopped", "share", "target", "reached"),
            [_looping_row(looping), _other_row(other), _patient_row(patiently)],
        ),
        f"By rule, the runs that it stopped (several rules may stop one call):\n\n{_by_rule(looping, other)}",
        f"The looping runs:\n\n{table(_LOOPING_HEADER, [_looping_run(each) for each in looping])}",
        f"Other runs that were stopped: {_wrong(other)}",
    ]
    return "\n\n".join(parts)


def _adapted(trajectories: Trajectories) -> str:
    return (
        f"Of {trajectories.calls:,} calls in the data, {trajectories.renamed} got another name, since no catalog "
        f"can hold theirs, and the arguments of {trajectories.wrapped} were put into an object, since they were "
        "none."
    )


def missed(replayed: Sequence[Replayed]) -> bool:
    """Whether a target is."""
    looping, other = _split(replayed)
    return not (_all_in_time(looping) and _few_enough(other))


_LOOPING_HEADER = (
    "model",
    "line of the data",
    "calls",
    "identical ones",
    "stopped at identical call",
    "by",
)


def _split(replayed: Sequence[Replayed]) -> tuple[list[Replayed], list[Replayed]]:
    return [each for each in replayed if each.run.loops], [each for each in replayed if not each.run.loops]


def _calls(replayed: Sequence[Replayed]) -> int:
    """Calls that were proposed; those after a stop never are."""
    return sum(len(each.run.calls) if each.stop is None else each.stop.place + 1 for each in replayed)


def _in_time(each: Replayed) -> bool:
    return each.stop is not None and each.stop.identical <= STOPPED_BY


def _all_in_time(looping: Sequence[Replayed]) -> bool:
    return all(map(_in_time, looping))


def _few_enough(other: Sequence[Replayed]) -> bool:
    return len(_stops(other)) <= WRONG_AT_MOST * len(other)


def _stops(replayed: Sequence[Replayed]) -> list[Stop]:
    return [each.stop for each in replayed if each.stop]


def _looping_row(looping: Sequence[Replayed]) -> list[str]:
    title = f"looping: one call {LOOPS_FROM} times or more"
    target = f"all, at identical call {STOPPED_BY} at the latest"
    return _row(title, looping, target, met=_all_in_time(looping))


def _other_row(other: Sequence[Replayed]) -> list[str]:
    return _row("other", other, f"≤ {WRONG_AT_MOST:.1%}", met=_few_enough(other))


def _patient_row(patiently: Sequence[Replayed]) -> list[str]:
    """What is left where a model is slow, or waits as it is told: told without a target."""
    stopped, count = len(_stops(patiently)), len(patiently)
    return [
        "looping, by agents that wait where a deny says how long",
        str(count),
        str(stopped),
        f"{stopped / count:.2%}",
        "-",
        "-",
    ]


def _row(title: str, replayed: Sequence[Replayed], target: str, *, met: bool) -> list[str]:
    stopped, count = len(_stops(replayed)), len(replayed)
    share = f"{stopped / count:.2%}" if count else "-"
    return [title, str(count), str(stopped), share, target, "met" if met else "**missed**"]


def _by_rule(looping: Sequence[Replayed], other: Sequence[Replayed]) -> str:
    of_looping, of_other = (
        Counter(code for stop in _stops(replayed) for code in stop.codes) for replayed in (looping, other)
    )
    rows = [
        (f"`{code}`", str(of_looping[code]), str(of_other[code])) for code in sorted(of_looping | of_other)
    ]
    return table(("reason", "looping runs", "other runs"), rows)


def _looping_run(each: Replayed) -> list[str]:
    run, stop = each.run, each.stop
    return [
        run.model,
        str(run.number),
        str(len(run.calls)),
        str(run.max_identical),
        str(stop.identical) if stop else "never",
        _codes(stop) if stop else "-",
    ]


def _codes(stop: Stop) -> str:
    codes = ", ".join(f"`{code}`" for code in sorted(stop.codes))
    return codes if stop.retry_after is None else f"{codes} for {stop.retry_after:.1f} s"


def _wrong(other: Sequence[Replayed]) -> str:
    lines = [_wrong_run(each, each.stop) for each in other if each.stop]
    return "\n\n" + "\n".join(lines) if lines else "none."


def _wrong_run(each: Replayed, stop: Stop) -> str:
    run = each.run
    why = "; ".join(f"`{code}` {metadata}" for code, metadata in stop.reasons)
    return (
        f"- line {run.number} ({run.model}), call {stop.place + 1} of {len(run.calls)}, "
        f"`{run.calls[stop.place].tool}`, identical call {stop.identical}: {stop.verdict} by {why}"
    )
