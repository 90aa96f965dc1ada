"""Obligations on real parts: a signed token, a ledger on disk, and a real MCP server."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.core.canonical import digest, digest_of
from interlock.core.errors import ErrorReason
from interlock.core.execution import ExecutionResult
from interlock.core.outcome import OutcomeKind
from tests.contract.inside_gateway import Inside, running_inside
from tests.odd_journal import runs

SECRET = "ghp_" + "a1B2" * 9
ADDRESS = "ann@example.com"
SAID: dict[str, Any] = {"key": SECRET, "customer": {"email": ADDRESS, "name": "Ann"}, "password": "swordfish"}
HIDDEN = base64.b64encode(json.dumps(SAID).encode()).decode()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def inside(tmp_path: Path, journal: Path) -> AsyncIterator[Inside]:
    async with running_inside(tmp_path / "ledger.db", journal) as opened:
        yield opened


async def execute(inside: Inside, arguments: dict[str, Any], *obligations: dict[str, Any]) -> ExecutionResult:
    return await inside.executor.execute(inside.call_with("echo", arguments, obligations=list(obligations)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_what_is_redacted_is_in_no_reply_and_no_file(inside: Inside, tmp_path: Path) -> None:
    """A secret in a real tool's answer is not in what is returned, kept or reported (case 63)."""
    done = await execute(
        inside,
        SAID | {"hidden": HIDDEN},
        {"type": "redact_result", "patterns": ["secrets", "personal_data"]},
    )
    answer = json.loads(done.result_json)
    assert answer["structuredContent"] == {
        "key": "[redacted]",
        "customer": {"email": "[redacted]", "name": "Ann"},
        "password": "[redacted]",
        "hidden": "[redacted]",
    }
    assert json.loads(answer["content"][0]["text"]) == answer["structuredContent"]
    [outcome] = await inside.ledger.undelivered(10)
    assert (outcome.result, outcome.result_digest) == (done.result_json, digest(done.result_json))
    assert [result.detail for result in outcome.obligation_results] == ["8 places redacted"]
    files = contents(tmp_path)
    assert any(b"Ann" in data for data in files.values()), "nothing would be found at all"
    for value in (SECRET, ADDRESS, "swordfish", HIDDEN):
        assert [name for name, data in files.items() if value.encode() in data] == []


async def test_dropped_members_are_in_neither_form_of_an_answer(inside: Inside) -> None:
    """What is dropped of the structured content is dropped of the text that repeats it."""
    done = await execute(
        inside,
        SAID,
        {"type": "drop_fields", "pointers": ["/structuredContent/customer/email", "/structuredContent/key"]},
    )
    answer = json.loads(done.result_json)
    left = {"customer": {"name": "Ann"}, "password": "swordfish"}
    assert answer["structuredContent"] == json.loads(answer["content"][0]["text"]) == left
    assert [result.detail for result in done.obligation_results] == ["4 places dropped"]


async def test_a_long_answer_is_kept_back(inside: Inside) -> None:
    """Of an answer above the cap the caller gets its size and digest, and the record no more than the cap."""
    done = await execute(inside, {"text": "x" * 5_000}, {"type": "max_result_bytes", "bytes": 1_000})
    assert done.kind == OutcomeKind.SUCCEEDED
    told = json.loads(done.result_json)
    [outcome] = await inside.ledger.undelivered(10)
    assert (told["digest"], len(outcome.result), outcome.result_truncated) == (
        outcome.result_digest,
        1_000,
        True,
    )
    assert told["bytes"] > 10_000
    assert outcome.obligation_results[0].detail.startswith("not returned: ")


async def test_a_dry_run_never_reaches_the_tool(inside: Inside, journal: Path) -> None:
    """The token is used, the outcome is on record, and the server hears nothing."""
    done = await execute(inside, SAID, {"type": "dry_run"}, {"type": "timeout", "seconds": 5})
    assert runs(journal) == []
    told = json.loads(done.result_json)
    assert (told["dry_run"], told["tool"], told["server"]) == (True, "echo", "odd")
    assert told["arguments_digest"] == digest_of(SAID)
    assert [outcome.kind for outcome in await inside.ledger.undelivered(10)] == [OutcomeKind.SUCCEEDED]
    assert await inside.refused(inside.call_with("echo", SAID)) == ErrorReason.TOKEN_ALREADY_REDEEMED


@pytest.mark.parametrize(
    "obligation",
    [
        {"type": "levitate"},
        {"type": "redact_result", "patterns": ["everything"]},
        {"type": "sandbox"},
        {"type": "require_idempotency_key"},
    ],
    ids=lambda obligation: obligation["type"],
)
async def test_what_cannot_be_met_is_refused_before_the_token_is_used(
    inside: Inside, journal: Path, obligation: dict[str, Any]
) -> None:
    """Nothing runs, the refusal is reported, and the token's use is not marked."""
    call = inside.call_with("echo", SAID, obligations=[obligation])
    assert await inside.refused(call) == ErrorReason.OBLIGATION_UNSUPPORTED
    assert runs(journal) == []
    assert await inside.kinds() == [OutcomeKind.REFUSED]
    assert (await inside.executor.execute(inside.call_with("echo", SAID))).kind == OutcomeKind.SUCCEEDED
