"""One measurement: what the load generator is asked for, and what it answers."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BATCH = 64
"""Decisions in a request to DecideBatch."""

Kind = Literal["opa", "decide", "batch"]

_GENERATOR = Path(__file__).with_name("load.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Load of one kind: `in_flight` calls at a time, for `seconds`, or until `calls` were made.

    `template` is the file with the request, `watched` the processes to measure by name, `credentials` the file
    with those of the agents whose `sessions` take turns; OPA is asked without either.
    """

    kind: Kind
    address: str
    template: str
    in_flight: int
    watched: Mapping[str, int]
    seconds: float
    calls: int = sys.maxsize
    warm_seconds: float = 0.0
    credentials: str = ""
    sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was measured: times of calls in milliseconds, the rest by name of the process.

    `cpu_micros` is processor time a decision, `resident_mib` memory at the end.
    """

    decisions: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_micros: Mapping[str, float]
    resident_mib: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Decisions a second."""
        return self.decisions / self.seconds


def run_load(job: Job) -> Load:
    """Do the job in a process of its own. Raises subprocess.CalledProcessError: a call got no allow."""
    given = json.dumps(dataclasses.asdict(job))
    done = subprocess.run(
        [sys.executable, str(_GENERATOR)], input=given, stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return Load(**answer)
