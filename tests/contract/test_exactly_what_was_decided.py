"""What a caller may try with a token: on a real ledger, in front of a real MCP server that notes each call."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from interlock.core.canonical import canonicalize
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.outcome import OutcomeKind
from tests.contract.inside_gateway import ARGUMENTS, Inside, running_inside
from tests.odd_journal import runs
from tests.tokens import BEGIN
from tests.waiting import until

CHANGED = [
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"hellp"}', id="one-byte"),
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"hello","mode":"fast"}', id="extra-default"),
    pytest.param(b'{"amount":0.1,"text":"hello"}', id="left-out-null"),
    pytest.param(b'{"amount":"0.1","nothing":null,"text":"hello"}', id="number-as-text"),
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"hello "}', id="trailing-space"),
    pytest.param('{"amount":0.1,"nothing":null,"text":"hell\u043e"}'.encode(), id="homoglyph"),
    pytest.param(b'{"amount":-0.1,"nothing":null,"text":"hello"}', id="sign"),
    pytest.param(b'{"arguments":{"amount":0.1,"nothing":null,"text":"hello"}}', id="nested"),
]
MALFORMED = [
    pytest.param(b'{"amount":9,"amount":0.1,"nothing":null,"text":"hello"}', id="duplicate-key"),
    pytest.param(b'{"amount":0.1,"Amount":9,"nothing":null,"text":"hello"}', id="duplicate-in-another-case"),
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"hello"} {}', id="bytes-after"),
    pytest.param(b'{"amount":NaN,"nothing":null,"text":"hello"}', id="nan"),
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"hello\\u0000"}', id="nul"),
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"\\ud800"}', id="lone-surrogate"),
    pytest.param(b'\xef\xbb\xbf{"amount":0.1,"nothing":null,"text":"hello"}', id="byte-order-mark"),
    pytest.param(b'{"amount":0.1,"nothing":null,"text":"hell\xff"}', id="no-utf-8"),
]
ANOTHER_SPELLING = [
    pytest.param(b'{"text":"hello","nothing":null,"amount":0.1}', id="key-order"),
    pytest.param(b'{ "amount" : 1e-1 , "nothing" : null , "text" : "hello" }', id="exponent-and-space"),
    pytest.param(b'{"amount":0.10,"nothing":null,"text":"\\u0068ello"}', id="digits-and-escape"),
]
ELSEWHERE = [
    pytest.param({"aud": "gateway-2"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY, id="another-gateway"),
    pytest.param({"tenant": "other"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY, id="another-tenant"),
    pytest.param({"env": "dev"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY, id="another-environment"),
    pytest.param(
        {"iss": "https://elsewhere.example"}, ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY, id="another-issuer"
    ),
    pytest.param({"tool": "hang"}, ErrorReason.CALL_MISMATCH, id="another-tool"),
    pytest.param({"catalog_digest": "c" * 43}, ErrorReason.CATALOG_MISMATCH, id="another-entry"),
    pytest.param(
        {"iat": BEGIN - 60, "nbf": BEGIN - 60, "exp": BEGIN - 30}, ErrorReason.TOKEN_EXPIRED, id="expired"
    ),
    pytest.param(
        {"iat": BEGIN + 30, "nbf": BEGIN + 30, "exp": BEGIN + 60},
        ErrorReason.TOKEN_NOT_YET_VALID,
        id="not-yet-valid",
    ),
    pytest.param({"exp": BEGIN + 3600}, ErrorReason.TOKEN_MALFORMED, id="lives-too-long"),
    pytest.param({"destinations": "d" * 43}, ErrorReason.DESTINATION_CHANGED, id="another-destination"),
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def inside(tmp_path: Path, journal: Path) -> AsyncIterator[Inside]:
    async with running_inside(tmp_path / "ledger.db", journal) as opened:
        yield opened


@pytest.mark.parametrize("arguments_json", CHANGED)
async def test_changed_arguments_never_run(inside: Inside, journal: Path, arguments_json: bytes) -> None:
    """Arguments with another value than was decided are refused, on record, and do not run (case 26)."""
    changed = replace(inside.call("echo"), arguments_json=arguments_json)
    assert await inside.refused(changed) == ErrorReason.CALL_MISMATCH
    assert runs(journal) == []
    assert await inside.kinds() == [OutcomeKind.REFUSED]


@pytest.mark.parametrize("arguments_json", MALFORMED)
async def test_ambiguous_arguments_never_run(inside: Inside, journal: Path, arguments_json: bytes) -> None:
    """What two parsers could read in two ways is refused at the gateway too (cases 26, 27, 30 and 31)."""
    ambiguous = replace(inside.call("echo"), arguments_json=arguments_json)
    assert await inside.refused(ambiguous) == ErrorReason.MALFORMED_ARGUMENTS
    assert runs(journal) == []


@pytest.mark.parametrize("arguments_json", ANOTHER_SPELLING)
async def test_another_spelling_runs_the_very_value_that_was_decided(
    inside: Inside, arguments_json: bytes
) -> None:
    """Bytes of the same value are the same call, and the tool gets the canonical value (cases 26 and 28)."""
    done = await inside.executor.execute(replace(inside.call("echo"), arguments_json=arguments_json))
    assert orjson.loads(done.result_json)["structuredContent"] == ARGUMENTS


@pytest.mark.parametrize(
    ("decided", "presented"),
    [(1, b'{"n":1.0}'), (0, b'{"n":-0}'), (0, b'{"n":-0.0}'), (100, b'{"n":1e2}')],
    ids=["1.0-for-1", "-0", "-0.0", "1e2-for-100"],
)
async def test_a_number_has_one_form(inside: Inside, decided: int, presented: bytes) -> None:
    """`1.0` for `1`, `-0` for `0` and `1e2` for `100` are the same number, and run in the one form (case 28)."""
    call = inside.call_with("echo", {"n": decided})
    done = await inside.executor.execute(replace(call, arguments_json=presented))
    assert canonicalize(orjson.loads(done.result_json)["structuredContent"]) == canonicalize({"n": decided})


@pytest.mark.parametrize(("claims", "reason"), ELSEWHERE)
async def test_a_token_of_another_place_or_time_runs_nothing(
    inside: Inside, journal: Path, claims: dict[str, Any], reason: ErrorReason
) -> None:
    """A token that is good, but not for this call here and now, is refused (cases 22 and 38)."""
    assert await inside.refused(inside.call("echo", **claims)) == reason
    assert runs(journal) == []


@pytest.mark.parametrize("type", ["approval+jwt", "JWT", "receipt+jwt", "exec+JWT", ""])
async def test_no_other_kind_of_token_is_an_execution_token(inside: Inside, journal: Path, type: str) -> None:
    """An approval, a receipt or any other thing signed with the same key permits no call (case 38)."""
    call = inside.call("echo")
    payload = call.execution_token.split(".")[1]
    header = _encode(orjson.dumps({"alg": "EdDSA", "kid": inside.keys.kid, "typ": type}))
    signed = f"{header}.{payload}"
    other = f"{signed}.{_encode(inside.keys.sign(signed.encode()))}"
    assert await inside.refused(replace(call, execution_token=other)) == ErrorReason.TOKEN_MALFORMED
    assert runs(journal) == []


async def test_a_call_without_a_token_runs_nothing(inside: Inside, journal: Path) -> None:
    """The canary of case 61: without a token, no way leads to the tool."""
    call = replace(inside.call("echo"), execution_token="")
    assert await inside.refused(call) == ErrorReason.TOKEN_MALFORMED
    assert runs(journal) == []


async def test_a_caller_who_goes_away_leaves_a_whole_outcome(inside: Inside, journal: Path) -> None:
    """When the caller is gone in the middle of a call, the call ends, once, with its outcome kept (case 25)."""
    call = inside.call("hang", obligations=[{"type": "timeout", "seconds": 0.5}])
    task = asyncio.create_task(inside.executor.execute(call))
    await until(lambda: "hang" in runs(journal))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await inside.executor.drain()
    assert runs(journal) == ["hang"]
    assert await inside.kinds() == [OutcomeKind.UNKNOWN]
    with pytest.raises(InterlockError) as again:
        await inside.executor.execute(call)
    assert again.value.reason == ErrorReason.TOKEN_ALREADY_REDEEMED


async def test_a_withdrawn_call_is_cancelled_at_its_tool(inside: Inside, journal: Path) -> None:
    """Where a caller withdraws its call, the tool is told, nobody waits for it, and it may have run (case 25)."""
    call = inside.call("hang")
    task = asyncio.create_task(inside.executor.execute_unless_withdrawn(call))
    await until(lambda: "hang" in runs(journal))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await inside.executor.drain()
    await until(lambda: "cancelled hang" in journal.read_text())
    assert await inside.kinds() == [OutcomeKind.UNKNOWN]
    assert await inside.refused(call) == ErrorReason.TOKEN_ALREADY_REDEEMED
    assert (await inside.executor.execute(inside.call("echo", jti="token-2"))).kind is OutcomeKind.SUCCEEDED


async def test_a_call_that_ends_before_it_is_withdrawn_succeeds(inside: Inside) -> None:
    """A caller that could withdraw its call, and does not, gets the answer."""
    done = await inside.executor.execute_unless_withdrawn(inside.call("echo"))
    assert done.kind is OutcomeKind.SUCCEEDED


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
