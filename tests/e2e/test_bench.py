"""The benchmark, run end to end, so that it cannot rot. What it measures is nobody's promise here."""

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


def test_benchmark_measures_every_row_and_target(project: Path, opa: Path, tmp_path: Path) -> None:
    """A short run ends well, fills every cell of its table, tells each target, and leaves nothing behind."""
    readme = project / "bench" / "README.md"
    before = readme.read_bytes()
    done = subprocess.run(
        [sys.executable, "bench/run.py", "--quick", "--no-write", "--folder", str(tmp_path / "scratch")],
        cwd=project,
        env=os.environ | {"INTERLOCK_OPA": str(opa)},
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = [_cells(line) for line in done.stdout.splitlines() if line.startswith("|")]
    header, _, *rows = table
    assert [(row[0], row[1]) for row in rows] == ROWS
    assert all(len(row) == len(header) and all(row) for row in rows)
    assert done.stdout.count("target") == 4
    assert list((tmp_path / "scratch").iterdir()) == []
    assert readme.read_bytes() == before


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
