"""The curves of the simulations, as text, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass

from report import table
from storm_simulation import RECOVERED_FROM, WINDOW_SECONDS, Curves, Plan

BAR_WIDTH = 14

_COLUMN = BAR_WIDTH + 14

_HEADER = (
    "simulation",
    "calls at the tool during the fault",
    "amplification",
    "highest in a window",
    "proposals",
    "recovered after",
    "work done",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One simulation."""

    title: str
    curves: Curves


def report(variants: Sequence[Variant]) -> str:
    """The whole of it."""
    plan = variants[0].curves.plan
    parts = (
        _setting(plan),
        table(_HEADER, [_row(variant) for variant in variants]),
        _explanation(plan),
        _curves(variants),
        *(_refusals(variant) for variant in variants if variant.curves.refusals),
    )
    return "\n\n".join(parts)


def _setting(plan: Plan) -> str:
    tool, agent = plan.tool, plan.agent
    return (
        f"{plan.agents} agents, each with a piece of work every {agent.period:g} s; a tool that does "
        f"{tool.capacity} calls a second, and fails from second {tool.fault_begins:g} to {tool.fault_ends:g}. A call "
        f"that is not answered within {tool.patience:g} s is given up by its caller, though the tool works on it. "
        f"A client layer repeats a failed call {len(agent.quick)} times within a second; then the agent's loop "
        f"proposes it again after {agent.think:g} s, up to {agent.turns} times."
    )


def _explanation(plan: Plan) -> str:
    return (
        f"*Amplification*: calls at the tool during the fault, over the {_regular_calls(plan):,.0f} that the work "
        f"alone would have made. *Recovered after*: seconds from the end of the fault until at least "
        f"{RECOVERED_FROM:.0%} of the work that falls due is done before the next piece is, and stays so. *Work "
        "done*: the same, over the whole simulation."
    )


def _curves(variants: Sequence[Variant]) -> str:
    return (
        f"Calls that reached the tool in each {WINDOW_SECONDS:g} s, and the share of work done; `!` while the tool "
        f"fails:\n\n{_chart(variants)}"
    )


def _regular_calls(plan: Plan) -> float:
    """Calls during the fault if each piece of work made one."""
    return plan.agents * (plan.tool.fault_ends - plan.tool.fault_begins) / plan.agent.period


def _row(variant: Variant) -> list[str]:
    curves = variant.curves
    during, recovered = curves.calls_during_fault(), curves.recovered_after()
    return [
        variant.title,
        f"{during:,}",
        f"{during / _regular_calls(curves.plan):.2f}",
        f"{max(curves.calls):,}",
        f"{sum(curves.proposals):,}",
        "never" if recovered is None else f"{recovered:g} s",
        f"{sum(curves.done) / len(curves.done):.0%}",
    ]


def _chart(variants: Sequence[Variant]) -> str:
    """A line for each window, and a column for each variant; all bars have one scale."""
    highest = max(max(variant.curves.calls) for variant in variants)
    titles = "   ".join(f"{variant.title:{_COLUMN}}" for variant in variants)
    names = "   ".join(f"{'  calls  done':{_COLUMN}}" for _ in variants)
    lines = [_line(place, variants, highest) for place in range(len(variants[0].curves.calls))]
    heads = (f"{'from':>6}     {titles}", f"{'':6}     {names}")
    return "\n".join(["```text", *(line.rstrip() for line in (*heads, *lines)), "```"])


def _line(place: int, variants: Sequence[Variant], highest: int) -> str:
    begins, tool = place * WINDOW_SECONDS, variants[0].curves.plan.tool
    failing = "!" if tool.fault_begins <= begins < tool.fault_ends else " "
    columns = (_column(variant.curves, place, highest) for variant in variants)
    return f"{begins:4.0f} s {failing}   {'   '.join(columns)}"


def _column(curves: Curves, place: int, highest: int) -> str:
    calls, done = curves.calls[place], curves.done[place]
    return f"{calls:7,} {done:5.0%} {'█' * round(calls / highest * BAR_WIDTH):{BAR_WIDTH}}"


def _refusals(variant: Variant) -> str:
    counts = sorted(variant.curves.refusals.items(), key=lambda item: -item[1])
    told = ", ".join(f"`{code}` {count:,}" for code, count in counts)
    return f"Why proposals were not let through, {variant.title}: {told}."
