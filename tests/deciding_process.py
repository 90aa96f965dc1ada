"""A process that decides on a store in PostgreSQL, with many callers at once, and tells what they were given.

Run with a URL, callers, rounds and what is scarce: `steps`, `budget`, `concurrency`, `lease` or `probe`. It says
when it has opened the store, waits for a line, and prints one JSON object.
"""

import asyncio
import json
import sys
import uuid
from dataclasses import replace
from typing import Any

import structlog

from interlock.adapters.cells_postgres import PostgresSessionState
from interlock.adapters.clock import RandomIdentifiers, SystemClock
from interlock.adapters.postgres import Postgres
from interlock.adapters.postgres_address import parse_address
from interlock.adapters.schema_postgres import connect_to_store
from interlock.adapters.store_postgres import PostgresDecisionLog
from interlock.core.decision import Decision, Evaluated
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.flows.coalesce import Bounds, Coalescer
from interlock.flows.decide import decide
from tests.deciders import a_decider
from tests.fakes import OneKeyPair, ScriptedEngine
from tests.proposals import a_proposal, an_answer

LIMIT = 50
"""So many are admitted, over all processes."""

PATIENCE_SECONDS = 60.0
ALLOWED: dict[str, list[dict[str, Any]]] = {
    "steps": [],
    "budget": [
        {
            "type": "budget",
            "scope": "tenant",
            "unit": "calls",
            "amount": 1,
            "limit": LIMIT,
            "window": "tumbling",
            "window_seconds": 86_400 * 365,
        }
    ],
    "concurrency": [{"type": "concurrency", "scope": "session", "limit": LIMIT}],
    "lease": [{"type": "lease", "resource": "the-one"}],
    "probe": [
        {
            "type": "breaker",
            "probe": True,
            "failure_percent": 50,
            "minimum_calls": 1,
            "window_seconds": 60,
            "slow_milliseconds": 0,
            "slow_percent": 100,
            "open_seconds": 30,
        }
    ],
}


def policy(scarce: str) -> Any:
    """Allows what the reservations leave, and, where steps are scarce, the first of the session's."""
    allow = an_answer("allow", reservations=ALLOWED[scarce])

    def answer(document: PolicyInput) -> Evaluated:
        steps = document["facts"]["loops"]["session"]["steps"]
        return an_answer("deny") if scarce == "steps" and steps > LIMIT else allow

    return answer


async def hammer(database: Postgres, callers: int, rounds: int, scarce: str) -> None:
    """Each caller proposes the same call in the same session, again and again."""
    decider = a_decider(
        log=PostgresDecisionLog(database),
        state=PostgresSessionState(database),
        engine=ScriptedEngine(policy(scarce)),
        signer=OneKeyPair(),
        clock=SystemClock(),
        identifiers=RandomIdentifiers(),
    )
    coalescer: Coalescer[Proposal, Decision] = Coalescer(
        lambda batch, limit: decide(batch, decider, limit_seconds=limit), Bounds(batch=16)
    )
    tell(opened=True)
    await asyncio.to_thread(sys.stdin.readline)

    async def call(_: int) -> list[Decision]:
        return [await propose(coalescer) for _ in range(rounds)]

    found = [each for made in await asyncio.gather(*map(call, range(callers))) for each in made]
    tell(
        decided=len(found),
        admitted=sum(1 for each in found if each.execution_token),
        codes=sorted({reason.code for each in found for reason in each.reasons}),
    )


async def propose(coalescer: Coalescer[Proposal, Decision]) -> Decision:
    proposal = replace(a_proposal(), request_id=str(uuid.uuid4()))
    [future] = coalescer.submit([proposal], limit_seconds=PATIENCE_SECONDS)
    return await future


def tell(**what: object) -> None:
    """One line, written at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(url: str, callers: str, rounds: str, scarce: str) -> None:
    address = parse_address(url)
    async with connect_to_store(address):
        pass
    database = Postgres(address, limit_seconds=PATIENCE_SECONDS, size=8)
    await database.start()
    await hammer(database, int(callers), int(rounds), scarce)
    await database.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
