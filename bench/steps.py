"""What each step of a decision costs in one quiet process: `.venv/bin/python bench/steps.py`.

The least of many short timings is told: what the code takes when nothing disturbs it. The benchmark of the whole,
`bench/run.py`, tells what it takes while client, OPA and service share the machine.
"""

import tempfile
import timeit
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from crowd import sessions_of
from facts_state import STEPS
from measure import BATCH
from population import MEASURING, Population, play
from trajectories import read_trajectories

from interlock.adapters.cells_sqlite import load_cells, save_cells
from interlock.adapters.clock import RandomIdentifiers, SystemClock
from interlock.adapters.file_paths import resolve_path
from interlock.adapters.signing_key import open_or_create
from interlock.adapters.store_sqlite import open_store
from interlock.core import conclusion, record, token
from interlock.core.catalog import CatalogFile, build_catalog
from interlock.core.cells import Cells
from interlock.core.conclusion import Terms
from interlock.core.decision import Evaluated, PolicyAnswer
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import normalize
from interlock.core.observing import NO_PARENT, Observe
from interlock.rpc import wire
from interlock.v1 import decision_pb2, decision_service_pb2, proposal_pb2

RUNS, RUNS_AT_ONCE = 20_000, 50
POPULATION = 10_000

CATALOG = build_catalog(
    [
        CatalogFile.model_validate(
            {
                "gateway": "gateway-1",
                "server": "git",
                "tools": [
                    {
                        "name": "git_status",
                        "effects": ["read"],
                        "arguments": {
                            "type": "object",
                            "properties": {"repo_path": {"type": "string"}},
                            "required": ["repo_path"],
                        },
                    }
                ],
            }
        )
    ]
)
WHOLE = {"window": "whole", "window_seconds": 0}
HOUR = {"window": "sliding", "window_seconds": 3_600}
DAY = {"window": "tumbling", "window_seconds": 86_400}
ANSWER = {
    "verdict": "allow",
    "reasons": [
        {"code": "effects.read_granted", "message": "Reading is granted", "metadata": {"roles": ["dev"]}}
    ],
    "obligations": [{"type": "timeout", "seconds": 30}],
    "reservations": [
        {"type": "budget", "scope": "session", "unit": "calls", "amount": 1, "limit": 1000, **WHOLE},
        {"type": "budget", "scope": "session", "unit": "cost", "amount": 0, "limit": 20_000_000, **WHOLE},
        {"type": "budget", "scope": "agent", "unit": "calls", "amount": 1, "limit": 10_000, **HOUR},
        {"type": "budget", "scope": "tenant", "unit": "cost", "amount": 0, "limit": 10**9, **DAY},
        {"type": "rate", "scope": "agent", "limit": 600, "period_seconds": 60, "burst": 100},
        {"type": "concurrency", "scope": "agent", "limit": 64},
        {
            "type": "breaker",
            "probe": False,
            "failure_percent": 50,
            "minimum_calls": 10,
            "window_seconds": 60,
            "slow_milliseconds": 20_000,
            "slow_percent": 80,
            "open_seconds": 30,
        },
    ],
}

Value = TypeVar("Value")


def main() -> None:
    """Measure every step on one proposal, then the parts of counting a batch; print a table of each."""
    with tempfile.TemporaryDirectory() as folder:
        print("| step | µs |\n| --- | ---: |")
        measure_steps(Path(folder))
        print(f"\n| counting a proposal, in batches of {BATCH} | µs |\n| --- | ---: |")
        measure_counting(Path(folder))


def measure_steps(folder: Path) -> None:
    """The steps in their order; each goes on from what the one before gave."""
    clock, identifiers = SystemClock(), RandomIdentifiers()
    signer = open_or_create(folder / "keys", clock.now)
    caller = Caller(kind=CallerKind.AGENT, tenant="acme", name="coder", roles=("dev",), credential_id="c-1")
    terms = Terms(
        issuer="interlock", environment="dev", token_life=timedelta(seconds=30), labels={"env": "dev"}
    )
    data, now, kid = request(), clock.now(), signer.kid
    message = told("parse the request", lambda: decision_service_pb2.DecideRequest.FromString(data))
    raw = told("to core types", lambda: wire.raw_proposal(caller, message))
    proposal = told(
        "normalize, digest, check the schema",
        lambda: normalize(raw, CATALOG, lambda _: "concealed", resolve_path),
    )
    observe = Observe(proposal, NO_PARENT, at=now, measuring=MEASURING)
    observed = observe.run(Cells(dict.fromkeys(observe.keys, b"")))
    document = told("policy input", lambda: conclusion.policy_input(proposal, observed, now))
    answer = told("check OPA's answer", lambda: PolicyAnswer.model_validate(ANSWER))
    evaluated = Evaluated(answer=answer, revision="r" * 43)
    draft = told(
        "draft the record",
        lambda: conclusion.conclude(
            proposal,
            observed,
            document,
            evaluated,
            decision_id=identifiers.new(),
            token_id=identifiers.new(),
            kid=kid,
            terms=terms,
            now=now,
        ),
    )
    sealed = told("seal it (canonical form, two hashes)", lambda: record.seal(draft, record.EMPTY))
    concluded = told("read it back", lambda: conclusion.recall(record.fields(sealed)))
    claims = told("claims", lambda: conclusion.claims(concluded, 1))
    assert claims is not None
    signed = told("signing input", lambda: token.signing_input(claims, kid))
    signature = told("Ed25519 signature", lambda: signer.sign(signed))
    decided = conclusion.decision(concluded, 1, token.compact(signed, signature))
    reply: decision_pb2.Decision = told("to the reply", lambda: wire.decision(decided))
    told(
        "serialize the reply", lambda: decision_service_pb2.DecideResponse(decision=reply).SerializeToString()
    )


def measure_counting(folder: Path) -> None:
    """What is done in a process for a batch, part by part, on sessions with a history."""
    population, now = Population(POPULATION, read_trajectories()), SystemClock().now()
    played = [play(population, agent, STEPS, now) for agent in range(BATCH)]
    kept = {key: data for each in played for key, data in each.cells.items()}
    proposals = [population.proposal(sessions_of(agent, POPULATION)[0], STEPS) for agent in range(BATCH)]

    def construct() -> list[Observe]:
        return [Observe(proposal, NO_PARENT, at=now, measuring=MEASURING) for proposal in proposals]

    changes = told("make the change", construct, of=BATCH)
    keys = told("name its cells", lambda: {key for change in changes for key in change.keys}, of=BATCH)
    connection = open_store(folder / "steps.db")
    found = {key: kept.get(key, b"") for key in keys}
    ends = now + MEASURING.retention
    full = Cells(dict.fromkeys(found, b""))
    for key, data in found.items():
        if data:
            full.put(key, data, expire_time=ends)
    save_cells(connection, full)
    told("load them from SQLite", lambda: load_cells(connection, keys), of=BATCH)

    def count() -> Cells:
        cells = Cells(found)
        for change in changes:
            change.run(cells)
        return cells

    told("decode them, count and tell the facts", count, of=BATCH)
    counted = [count() for _ in range(RUNS // BATCH + 1)]
    told("encode what changed", lambda: counted.pop().changed(), of=BATCH)
    cells = count()
    cells.changed()
    with connection:
        told("save it to SQLite, without commit", lambda: save_cells(connection, cells), of=BATCH)
    connection.close()


def told(step: str, run: Callable[[], Value], *, of: int = 1) -> Value:
    """Print the least time that the step takes for one `of` so many, and give its value."""
    runs = max(1, RUNS_AT_ONCE // of)
    microseconds = min(timeit.repeat(run, number=runs, repeat=RUNS // runs // of)) / (runs * of) * 1e6
    print(f"| {step} | {microseconds:.1f} |")
    return run()


def request() -> bytes:
    """A request as a client sends it."""
    call = proposal_pb2.ToolCall(
        tool="git_status", arguments_json=b'{"repo_path":"/srv/repositories/example"}'
    )
    proposal = proposal_pb2.Proposal(session_id="session-1", goal="see what changed", tool_call=call)
    return decision_service_pb2.DecideRequest(
        request_id=str(uuid.uuid4()), proposal=proposal
    ).SerializeToString()


if __name__ == "__main__":
    main()
