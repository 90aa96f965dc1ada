"""A session's timeline as lines of text: one for each thing that happened, with its loops marked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from interlock.cli.output import visible
from interlock.client import (
    ApprovalEntry,
    DecisionEntry,
    FailureEntry,
    MemoryRead,
    MemoryWrite,
    OutcomeEntry,
    PlanningStep,
    StateTransition,
    Step,
    TimelineEntry,
    Verdict,
)

LEAST_CYCLES = 2
"""So many repeats make a cycle that is worth a mark."""

_STYLES = {Verdict.ALLOW: "green", Verdict.DENY: "red", Verdict.ESCALATE: "yellow"}
_LOOP = "bold magenta"
_TIMES = "\N{MULTIPLICATION SIGN}"
_DIGEST_SHOWN = 12
_WHAT_WIDTH = 9


@dataclass(frozen=True, slots=True)
class _Line:
    """What stands behind the time: a number, what it is, what repeats, and the rest."""

    what: str
    rest: str
    number: str = ""
    style: str = ""
    marks: str = ""


def draw_timeline(entries: Sequence[TimelineEntry]) -> Iterator[Text]:
    """The lines, oldest first; a line with the date stands before the first of each day.

    A number of times says how often the same call was proposed by then; a bracket in the margin holds together
    the calls that are repeats of one cycle. What others wrote is made visible, and nothing of it acts.
    """
    margins = _margins(entries)
    numbers = {
        each.entry.decision_id: each.number for each in entries if isinstance(each.entry, DecisionEntry)
    }
    day = None
    for entry, margin in zip(entries, margins, strict=True):
        if (date := entry.time.date()) != day:
            yield Text(f"  {date.isoformat()}", style="dim")
            day = date
        yield _text(entry, margin, _line(entry, numbers))


def _text(entry: TimelineEntry, margin: str, line: _Line) -> Text:
    return Text.assemble(
        (f"{margin} ", _LOOP),
        (f"{entry.time:%H:%M:%S} ", "dim"),
        f"{line.number:>4} ",
        (f"{line.what:<{_WHAT_WIDTH}} ", line.style),
        (f"{line.marks} " if line.marks else "", _LOOP),
        visible(line.rest),
    )


def _line(entry: TimelineEntry, numbers: dict[str, int]) -> _Line:
    match entry.entry:
        case DecisionEntry() as made:
            return _Line(
                what=made.verdict.value.upper(),
                number=str(entry.number or ""),
                style=_STYLES[made.verdict],
                marks=_marks(made),
                rest=f"{made.tool}  {', '.join(made.reason_codes)}{_asked(made)}",
            )
        case ApprovalEntry() as approval:
            of = numbers.get(approval.decision_id)
            return _Line(
                what=approval.change,
                style="yellow",
                rest=f"of {of or f'decision {approval.decision_id}'}  approval {approval.approval_id} is "
                f"{approval.state}, by {approval.requested_by}",
            )
        case OutcomeEntry() as outcome:
            of = numbers.get(outcome.decision_id)
            result = f"  result {outcome.result_digest[:_DIGEST_SHOWN]}" if outcome.result_digest else ""
            return _Line(
                what=outcome.outcome.value, rest=f"of {of or f'decision {outcome.decision_id}'}{result}"
            )
        case FailureEntry() as failure:
            return _Line(what="ERROR", style="red", rest=f"{failure.tool}  {failure.reason}")
        case Step() as step:
            return _Line(what=f"step {step.number}", rest=_step(step), style="cyan")
        case None:
            return _Line(what="?", rest="something that only a newer version of this command knows")


def _asked(made: DecisionEntry) -> str:
    after = f"  after approval {made.follows}" if made.follows else ""
    return f"{after}  waits for approval {made.approval_id}" if made.approval_id else after


def _marks(made: DecisionEntry) -> str:
    marks = [f"{_TIMES}{made.same_call}"] if made.same_call > 1 else []
    if made.cycle_count >= LEAST_CYCLES:
        marks.append(f"cycle of {made.cycle_length} {_TIMES}{made.cycle_count}")
    return " ".join(marks)


def _step(step: Step) -> str:
    used = [f"cost {step.cost}"] if step.cost else []
    used += [f"{step.model_tokens} model tokens"] if step.model_tokens else []
    return _did(step) + (f"  ({', '.join(used)})" if used else "")


def _did(step: Step) -> str:
    match step.kind:
        case PlanningStep(summary=summary):
            return f"plan: {summary}"
        case MemoryRead(key=key, version=version):
            return f"read {key}, version {version}"
        case MemoryWrite(key=key, version=version):
            return f"wrote {key}, version {version}"
        case StateTransition(name=name, from_state=before, to_state=after):
            return f"{name}: {before} → {after}"


def _margins(entries: Sequence[TimelineEntry]) -> list[str]:
    """A bracket beside the entries of each cycle: `┌│└`, and spaces beside all others."""
    margins = [" "] * len(entries)
    for first, last in _joined(_cycles(entries)):
        margins[first : last + 1] = ["┌", *"│" * (last - first - 1), "└"]
    return margins


def _cycles(entries: Sequence[TimelineEntry]) -> Iterator[tuple[int, int]]:
    """The first and the last place of each cycle, in the order of the last."""
    places = {
        each.number: place for place, each in enumerate(entries) if isinstance(each.entry, DecisionEntry)
    }
    for last, each in enumerate(entries):
        made = each.entry
        if isinstance(made, DecisionEntry) and made.cycle_count >= LEAST_CYCLES:
            numbers = range(each.number - made.cycle_length * made.cycle_count + 1, each.number)
            first = next((places[number] for number in numbers if number in places), last)
            if first < last:
                yield first, last


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges that overlap as one: a cycle that goes on is told of anew with each call."""
    ordered = sorted(ranges)
    if not ordered:
        return
    first, last = ordered[0]
    for begin, end in ordered[1:]:
        if begin > last:
            yield first, last
            first, last = begin, end
        last = max(last, end)
    yield first, last
