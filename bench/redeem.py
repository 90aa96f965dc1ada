"""How many tokens a gateway verifies and redeems in a second on one core: `python bench/redeem.py [TOKENS]`.

All of it runs in this process, which is pinned to one core with the thread that writes the ledger: each token is
verified, its arguments are parsed, canonicalized and hashed, and its use is durable in SQLite before its caller goes
on. It prints a Markdown table with a row for each number of callers at a time.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.adapters.clock import RandomIdentifiers
from interlock.adapters.ledger_sqlite import SqliteLedger
from interlock.adapters.verifying_keys import FixedVerifyingKeys
from interlock.core import token
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import CatalogFile, Effect, ToolEntry, build_catalog
from interlock.core.destinations import DestinationProblem
from interlock.core.execution import Call, permit
from interlock.core.token import ExpectedBy
from interlock.ports import Redemption

CALLERS = (1, 64, 256)
TOKENS = 10_000
LIMIT_SECONDS = 30.0
NOW = datetime.now(UTC)
ARGUMENTS = {
    "path": "reports/2026/summary.md",
    "content": "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 4,
    "mode": "replace",
    "options": {"create": True, "attempts": 3, "tags": ["report", "weekly", "draft"]},
}
PRESENTED = canonicalize(ARGUMENTS)
CATALOG = build_catalog(
    [
        CatalogFile(
            gateway="gateway-1",
            server="files",
            tools=(ToolEntry(name="files/write", arguments={"type": "object"}, effects=(Effect.WRITE,)),),
        )
    ]
)
TOOL = CATALOG.tools["files/write"]
EXPECTED = ExpectedBy(
    audience="gateway-1",
    tenant="acme",
    environment="bench",
    issuer="interlock",
    leeway=timedelta(seconds=5),
)


class Gateway:
    """What a gateway does with a token, up to the moment that its call may run."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._keys = FixedVerifyingKeys({"key-1": self._key.public_key()})
        self._ledger = ledger
        self._identifiers = RandomIdentifiers()

    def sign(self, count: int) -> list[str]:
        """So many tokens, each of another decision."""
        return [self._sign(self._identifiers.new()) for _ in range(count)]

    async def redeem(self, execution_token: str) -> None:
        """Verify, hash and redeem; durable on return."""
        call = Call(execution_token=execution_token, tool=TOOL.name, arguments_json=PRESENTED)
        token.key_id(call.execution_token)
        claims = token.verify(call.execution_token, self._keys, EXPECTED, reference_time=NOW)
        permit(call, claims, CATALOG, _no_files)
        redemption = Redemption(
            token_id=claims.jti,
            execution_id=self._identifiers.new(),
            decision_id=claims.decision_id,
            tool=claims.tool,
            expire_time=token.expire_time(claims),
            start_time=NOW,
        )
        if await self._ledger.redeem(redemption) is not None:
            raise RuntimeError("a new token was redeemed before")

    def _sign(self, name: str) -> str:
        begin = int(NOW.timestamp())
        claims = {
            "iss": EXPECTED.issuer,
            "aud": EXPECTED.audience,
            "sub": "agent-7",
            "act": {"sub": "agent-7"},
            "tenant": EXPECTED.tenant,
            "iat": begin,
            "nbf": begin,
            "exp": begin + 30,
            "jti": name,
            "txn": "session-1",
            "decision_id": name,
            "log_index": 41,
            "policy_rev": "revision-1",
            "tool": TOOL.name,
            "catalog_digest": TOOL.digest,
            "args_digest": digest_of(ARGUMENTS),
            "obligations": [],
            "env": EXPECTED.environment,
        }
        signed = token.signing_input(claims, "key-1")
        return token.compact(signed, self._key.sign(signed))


async def measure(gateway: Gateway, tokens: Sequence[str], callers: int) -> tuple[float, float, float]:
    """The tokens a second, the median seconds of one, and the CPU seconds of one, of so many callers at a time."""
    took: list[float] = []
    waiting = iter(tokens)
    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_present(gateway, waiting, took) for _ in range(callers)))
    seconds, used = time.perf_counter() - began, time.process_time() - used
    return len(took) / seconds, statistics.median(took), used / len(took)


async def _present(gateway: Gateway, waiting: Iterator[str], took: list[float]) -> None:
    for execution_token in waiting:
        began = time.perf_counter()
        await gateway.redeem(execution_token)
        took.append(time.perf_counter() - began)


def _no_files(_: object, text: str) -> tuple[str, str, DestinationProblem]:
    raise AssertionError(f"`{text}` is no path")


async def main(tokens: int) -> None:
    """Measure with each number of callers, and print the table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=".") as folder:
        ledger = SqliteLedger(Path(folder) / "ledger.db", limit_seconds=LIMIT_SECONDS)
        gateway = Gateway(ledger)
        print("| callers at a time | verified and redeemed, per second | p50 | CPU of one |")
        print("| ---: | ---: | ---: | ---: |")
        for callers in CALLERS:
            # One at a time waits for the disk each time, which takes longer.
            count = tokens // 10 if callers == 1 else tokens
            rate, median, used = await measure(gateway, gateway.sign(count), callers)
            print(f"| {callers} | {rate:,.0f} | {median * 1_000:.2f} ms | {used * 1e6:.0f} µs |")
        await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else TOKENS))
