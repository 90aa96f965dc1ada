"""The benchmarks, run end to end, so that they cannot rot. The times that they measure are nobody's promise here."""

import os
import subprocess
import sys
from pathlib import Path

RUN_LIMIT_SECONDS = 240.0
ROWS = [
    ("(a) OPA's REST API", "1"),
    ("(a) OPA's REST API", "64"),
    ("(b) bare gRPC echo server", "1"),
    ("(b) bare gRPC echo server", "64"),
    ("(c) Decide", "1"),
    ("(c) Decide", "64"),
    ("(d) DecideBatch of 64", "4"),
]
STORES = ["SQLite", "PostgreSQL"]
ASKED = ["Decide", "DecideBatch of 64"]
SERVICES = ["with facts, all topics", "facts counted, no topic that uses them", "without facts"]


def test_benchmark_measures_every_row_and_target(project: Path, opa: Path, tmp_path: Path) -> None:
    """A short run ends well, fills every cell of its table, tells each target, and leaves nothing behind."""
    told = _run("run.py", project, opa, tmp_path)
    [table] = _tables(told)
    header, _, *rows = table
    assert [(row[0], row[1]) for row in rows] == ROWS
    assert all(len(row) == len(header) and all(row) for row in rows)
    assert told.count("target") == 4


def test_facts_are_measured_on_both_stores_and_in_services(project: Path, opa: Path, tmp_path: Path) -> None:
    """A short run fills every cell of its tables; PostgreSQL counts a batch in one round trip for each kind."""
    told = _run("facts.py", project, opa, tmp_path)
    costs, statements, compared, scaled, weights, kept = _tables(told)
    for header, _, *rows in (costs, statements, compared, scaled, weights, kept):
        assert rows
        assert all(len(row) == len(header) and all(row) for row in rows)
    assert [row[0] for row in costs[2:]] == STORES
    assert {row[1] for row in statements[2:]} == {"1"}
    assert sorted({row[0] for row in weights[2:]}, key=STORES.index) == STORES
    assert [(row[0], row[2]) for row in compared[2:]] == [
        (asked, service) for asked in ASKED for service in SERVICES
    ]
    assert {row[1] for row in scaled[2:]} == set(ASKED)
    assert told.count("; target") == 4


def test_looping_runs_of_real_models_are_stopped_and_no_others(
    project: Path, opa: Path, tmp_path: Path
) -> None:
    """The stock rules stop each of 16 recorded loops by its fourth identical call, and none of 40 other runs."""
    runs, by_rule, looping = _tables(_run("loops.py", project, opa, tmp_path))
    assert [(row[1], row[2], row[-1]) for row in runs[2:4]] == [("16", "16", "met"), ("40", "0", "met")]
    assert by_rule[2:]
    assert all(int(row[4]) <= 4 for row in looping[2:])


def test_a_storm_of_retries_is_smaller_with_interlock(project: Path, opa: Path, tmp_path: Path) -> None:
    """With Interlock fewer calls reach a failing tool than the work alone would make; without, many times more."""
    [variants] = _tables(_run("storm.py", project, opa, tmp_path))
    without, *guarded = [float(row[2]) for row in variants[2:]]
    assert without > 2
    assert len(guarded) == 2
    assert all(amplification < 1 for amplification in guarded)


def test_the_gateway_is_measured_in_each_way(project: Path, opa: Path, tmp_path: Path) -> None:
    """A short run fills every table: overhead, idle clients of both kinds of protocol, redeeming, and sandboxes."""
    overhead, idle, redeem, sandbox = _tables(_run("gateway.py", project, opa, tmp_path))
    for header, _, *rows in (overhead, idle, redeem):
        assert all(len(row) == len(header) and all(row) for row in rows)
    assert [row[0] for row in overhead[2:]] == ["the MCP server itself", "through the gateway"]
    assert [row[1] for row in idle[2:]] == ["8", "8"]
    assert [row[0] for row in redeem[2:]] == ["1", "64", "256"]
    assert len(sandbox[2:]) == 2


def test_approvals_are_measured_while_many_wait(project: Path, opa: Path, tmp_path: Path) -> None:
    """A short run opens real approvals, lists and answers them, and fills every cell of its table."""
    told = _run("approvals.py", project, opa, tmp_path, "--stores", "SQLite")
    [[header, _, *rows]] = _tables(told)
    assert len(rows) == 7
    assert all(len(row) == len(header) and all(row) for row in rows)
    assert told.count("; target") == 2


def _run(tool: str, project: Path, opa: Path, folder: Path, *options: str) -> str:
    """What it prints in a short run, which writes nothing into the project and leaves nothing in the folder."""
    readme = project / "bench" / "README.md"
    before = readme.read_bytes()
    done = subprocess.run(
        [
            sys.executable,
            f"bench/{tool}",
            "--quick",
            "--no-write",
            "--folder",
            str(folder / "scratch"),
            *options,
        ],
        cwd=project,
        env=os.environ | {"INTERLOCK_OPA": str(opa)},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((folder / "scratch").iterdir()) == []
    assert readme.read_bytes() == before
    return done.stdout


def _tables(told: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, each with its header and the line below it."""
    tables: list[list[list[str]]] = []
    before = ""
    for line in told.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            tables[-1].append(_cells(line))
        before = line
    return tables


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
