"""The gateway's inside on real parts: its flow, its ledger on disk, and a real MCP server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.execution import ExecutionResult
from interlock.core.outcome import OutcomeKind
from tests.contract.inside_gateway import ARGUMENTS, Inside, running_inside
from tests.odd_journal import runs


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def inside(tmp_path: Path, journal: Path) -> AsyncIterator[Inside]:
    async with running_inside(tmp_path / "ledger.db", journal) as opened:
        yield opened


async def test_fifty_callers_of_one_token_run_a_real_tool_once(inside: Inside, journal: Path) -> None:
    """Of fifty parallel callers of one token the tool runs for one (invariant 3, case 23)."""
    call = inside.call("echo")
    results = await asyncio.gather(
        *(inside.executor.execute(call) for _ in range(50)), return_exceptions=True
    )
    [won] = [result for result in results if isinstance(result, ExecutionResult)]
    lost = [result for result in results if isinstance(result, InterlockError)]
    assert [error.reason for error in lost] == [ErrorReason.TOKEN_ALREADY_REDEEMED] * 49
    assert won.kind == OutcomeKind.SUCCEEDED
    assert runs(journal) == ["echo"]
    assert sorted(await inside.kinds()) == [OutcomeKind.REFUSED, OutcomeKind.SUCCEEDED]


async def test_a_changed_argument_never_reaches_the_tool(inside: Inside, journal: Path) -> None:
    """One argument changed after the decision is refused before anything runs (case 26)."""
    changed = canonicalize(ARGUMENTS | {"amount": 0.2})
    assert (
        await inside.refused(replace(inside.call("echo"), arguments_json=changed))
        == ErrorReason.CALL_MISMATCH
    )
    assert runs(journal) == []
    assert await inside.kinds() == [OutcomeKind.REFUSED]


@pytest.mark.parametrize(
    ("tool", "obligations"),
    [("die", []), ("hang", [{"type": "timeout", "seconds": 0.2}])],
    ids=["dies", "hangs"],
)
async def test_a_tool_without_an_answer_ran_once_and_is_unknown(
    inside: Inside, journal: Path, tool: str, obligations: list[dict[str, Any]]
) -> None:
    """A server that dies or hangs in the call gives `unknown`; the token never runs again (case 25)."""
    call = inside.call(tool, obligations=obligations)
    assert (await inside.executor.execute(call)).kind == OutcomeKind.UNKNOWN
    assert await inside.refused(call) in (ErrorReason.TOKEN_ALREADY_REDEEMED, ErrorReason.TOOL_UNAVAILABLE)
    assert runs(journal) == [tool]
    assert (await inside.kinds())[0] == OutcomeKind.UNKNOWN


async def test_a_used_token_stays_used_after_a_restart(inside: Inside, tmp_path: Path) -> None:
    """A gateway that starts again on its ledger refuses what its predecessor ran."""
    call = inside.call("echo")
    await inside.executor.execute(call)
    await inside.ledger.close()
    again = Inside(tmp_path / "ledger.db", inside.tools, inside.keys)
    try:
        assert await again.ledger.recover(again.clock.now()) == []
        assert await again.refused(call) == ErrorReason.TOKEN_ALREADY_REDEEMED
    finally:
        await again.ledger.close()
