"""Runs of real models that others recorded, as proposals that a harness would make of them.

What a model wrote goes through as it is, wherever a proposal can hold it: a name that no catalog can hold is
replaced by one that it can, and arguments that are no JSON object are wrapped in one.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from interlock.core.canonical import canonicalize
from interlock.core.errors import InterlockError
from interlock.core.strict_json import parse_object

RUNS = Path(__file__).parent.parent / "tests" / "data" / "trajectories" / "toolemu_runs.jsonl"

LOOPS_FROM = 3
"""A run that proposes one call so many times is a looping one."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call, and what came of it. `result_json` stands in for the result, whose text nobody has."""

    tool: str
    arguments_json: bytes
    result_json: bytes
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one model did to reach one goal. `number` is its line in the file, from 1."""

    number: int
    model: str
    goal: str
    max_identical: int
    calls: tuple[Call, ...]

    @property
    def loops(self) -> bool:
        """Whether it repeats a call as often as a looping run does."""
        return self.max_identical >= LOOPS_FROM

    def identical(self, place: int) -> int:
        """How many calls up to the one in this place, itself counted, are the same as it."""
        return sum(_identity(call) == _identity(self.calls[place]) for call in self.calls[: place + 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectories:
    """The runs; `renamed` and `wrapped` count the calls whose name and whose arguments were not taken as they are."""

    runs: tuple[Run, ...]
    renamed: int
    wrapped: int

    @property
    def calls(self) -> int:
        """How many calls all of them make."""
        return sum(len(run.calls) for run in self.runs)

    @property
    def tools(self) -> list[str]:
        """The tools that occur, by name."""
        return sorted({call.tool for run in self.runs for call in run.calls})


def read_trajectories(*, others: int | None = None) -> Trajectories:
    """All runs of the file; or those that loop, and so many of the others."""
    stated = [
        (number, json.loads(line)) for number, line in enumerate(RUNS.read_text().splitlines(), start=1)
    ]
    loop = [run for run in stated if run[1]["max_identical"] >= LOOPS_FROM]
    chosen = sorted([*loop, *[run for run in stated if run not in loop][:others]], key=itemgetter(0))
    steps = [step for _, run in chosen for step in run["steps"]]
    names = _names(step["tool"] for step in steps)
    return Trajectories(
        runs=tuple(_run(number, run, names) for number, run in chosen),
        renamed=sum(names[step["tool"]] != step["tool"] for step in steps),
        wrapped=sum(not _is_object(step["arguments"]) for step in steps),
    )


def _run(number: int, stated: dict[str, Any], names: dict[str, str]) -> Run:
    return Run(
        number=number,
        model=stated["model"],
        goal=stated["goal"],
        max_identical=stated["max_identical"],
        calls=tuple(_call(step, names) for step in stated["steps"]),
    )


def _call(step: dict[str, Any], names: dict[str, str]) -> Call:
    text = step["arguments"]
    return Call(
        tool=names[step["tool"]],
        arguments_json=text.encode() if _is_object(text) else orjson.dumps({"input": text}),
        # The beginning of the digest is all that there is: it tells the same results from others.
        result_json=canonicalize(step["result_sha256"]),
        failed=step["result_is_error"],
    )


def _names(written: Iterable[str]) -> dict[str, str]:
    """Each name as it is, or as a placeholder where it is no name, or another's in other letters' case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for name in written:
        if name in names:
            continue
        fits = _TOOL_NAME.match(name) is not None and name.casefold() not in taken
        names[name] = name if fits else f"placeholder-{len(names)}"
        taken.add(names[name].casefold())
    return names


def _is_object(text: str) -> bool:
    try:
        parse_object(text.encode(), field="arguments")
    except InterlockError:
        return False
    return True


def _identity(call: Call) -> tuple[str, bytes]:
    return call.tool, canonicalize(parse_object(call.arguments_json, field="arguments"))
