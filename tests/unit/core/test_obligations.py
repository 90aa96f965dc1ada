"""Each obligation is met, or its call is refused; of several of a type the stricter holds."""

import json
from typing import Any

import pytest

from interlock.core.canonical import canonicalize, digest
from interlock.core.connector_entries import CommandEntry
from interlock.core.decision import Obligation
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.obligation_kinds import ABILITIES, MAX_POINTERS, Sandbox
from interlock.core.obligations import Obliged, understand
from interlock.core.outcome import MemoryWrite, ObligationResult
from interlock.core.redaction import REDACTED
from interlock.core.tool_result import MAX_RESULT_BYTES
from tests.tool_calls import a_tool

COMMAND = a_tool(command=CommandEntry(argv=("true",)), idempotent_by_key=True)

BAD: list[dict[str, Any]] = [
    {"type": "levitate"},
    {"type": "max_result_bytes"},
    {"type": "max_result_bytes", "bytes": 0},
    {"type": "max_result_bytes", "bytes": 1.0},
    {"type": "max_result_bytes", "bytes": True},
    {"type": "max_result_bytes", "bytes": 10, "unit": "KiB"},
    {"type": "redact_result"},
    {"type": "redact_result", "pointers": [], "patterns": []},
    {"type": "redact_result", "pointers": "/a"},
    {"type": "redact_result", "pointers": ["a"]},
    {"type": "redact_result", "pointers": ["/a~2"]},
    {"type": "redact_result", "pointers": ["/a"] * (MAX_POINTERS + 1)},
    {"type": "redact_result", "patterns": ["everything"]},
    {"type": "drop_fields"},
    {"type": "drop_fields", "pointers": []},
    {"type": "drop_fields", "pointers": [""]},
    {"type": "drop_fields", "pointers": [1]},
    {"type": "sandbox", "network": "no"},
    {"type": "sandbox", "writable": "scratch"},
    {"type": "dry_run", "really": False},
    {"type": "require_idempotency_key", "key": "k"},
    {"type": "timeout", "seconds": 0},
]


def obliged(*stated: dict[str, Any]) -> Obliged:
    return understand(map(Obligation.model_validate, stated), COMMAND)


def details(results: tuple[ObligationResult, ...]) -> dict[str, str]:
    return {result.type: result.detail for result in results}


def test_the_list_is_closed() -> None:
    """A gateway states these types, in alphabetical order, and no other."""
    assert ABILITIES == (
        "drop_fields",
        "dry_run",
        "max_result_bytes",
        "redact_result",
        "require_idempotency_key",
        "sandbox",
        "timeout",
    )


@pytest.mark.parametrize("stated", BAD, ids=lambda stated: json.dumps(stated)[:60])
def test_what_is_not_fully_understood_is_refused(stated: dict[str, Any]) -> None:
    """An unknown type, an unknown or missing parameter, or a bad value is never skipped."""
    with pytest.raises(InterlockError) as caught:
        obliged({"type": "timeout", "seconds": 5}, stated)
    assert caught.value.reason == ErrorReason.OBLIGATION_UNSUPPORTED
    assert caught.value.metadata == {"obligation": stated["type"]}


@pytest.mark.parametrize(
    "stated", [{"type": "sandbox"}, {"type": "require_idempotency_key"}], ids=["sandbox", "key"]
)
def test_what_the_tool_cannot_meet_is_refused(stated: dict[str, Any]) -> None:
    """A tool that is no command runs in no sandbox, and one that may do a thing twice has no idempotency key."""
    with pytest.raises(InterlockError) as caught:
        understand([Obligation.model_validate(stated)], a_tool())
    assert caught.value.reason == ErrorReason.OBLIGATION_UNSUPPORTED
    assert caught.value.metadata == {"obligation": stated["type"]}


def test_of_several_the_stricter_holds() -> None:
    """The least time and size, what all sandboxes give, and all that any of them redacts or drops."""
    both = obliged(
        {"type": "timeout", "seconds": 9},
        {"type": "max_result_bytes", "bytes": 200},
        {"type": "sandbox", "network": True, "writable": ["a", "b"]},
        {"type": "redact_result", "pointers": ["/x"]},
        {"type": "drop_fields", "pointers": ["/p"]},
        {"type": "timeout", "seconds": 4},
        {"type": "max_result_bytes", "bytes": 300},
        {"type": "sandbox", "writable": ["b", "c"]},
        {"type": "redact_result", "pointers": ["/y"], "patterns": ["secrets"]},
        {"type": "drop_fields", "pointers": ["/q"]},
    )
    assert both.time_limit(longest=30) == 4
    assert both.time_limit(longest=2) == 2
    assert both.max_result_bytes == 200
    assert both.sandbox == Sandbox(type="sandbox", network=False, writable=("b",))
    met = both.meet({"x": 1, "y": 2, "p": 3, "q": 4, "z": "AKIAIOSFODNN7EXAMPLE"}, (), limit=4)
    assert json.loads(met.encoded.data) == {"x": REDACTED, "y": REDACTED, "z": REDACTED}
    assert details(met.results) == {
        "timeout": "limited to 4 s",
        "max_result_bytes": "at most 200 bytes returned",
        "sandbox": "in a sandbox: no network, writing to `b`",
        "redact_result": "3 places redacted",
        "drop_fields": "2 places dropped",
    }
    assert [result.type for result in met.results] == [each.type for each in both.obligations]


def test_without_obligations_all_is_as_it_was() -> None:
    """Nothing demanded is nothing done, and nothing told."""
    none = obliged()
    assert (none.time_limit(longest=30), none.max_result_bytes, none.sandbox) == (30, MAX_RESULT_BYTES, None)
    assert not none.is_dry
    assert not none.clears
    writes = (MemoryWrite(key="a@b.cc", version=1, digest=""),)
    met = none.meet({"password": "x"}, writes, limit=30)
    assert met.encoded.data == b'{"password":"x"}'
    assert met.memory_writes == writes
    assert met.results == ()


def test_an_answer_above_the_limit_is_told_by_its_size_and_digest() -> None:
    """Neither the caller nor the record gets more of it than was allowed."""
    answer = "x" * 500
    met = obliged({"type": "max_result_bytes", "bytes": 100}).meet(answer, (), limit=1)
    whole = canonicalize(answer)
    assert json.loads(met.encoded.data) == {
        "omitted": "the answer is larger than 100 bytes and is not returned",
        "bytes": 502,
        "digest": digest(whole),
    }
    assert (met.encoded.excerpt, met.encoded.truncated, met.encoded.digest) == (
        whole[:100],
        True,
        digest(whole),
    )
    assert details(met.results) == {"max_result_bytes": "not returned: 502 bytes, and 100 are the most"}


def test_an_answer_is_measured_as_it_is_returned() -> None:
    """What is dropped counts for nothing, so that an author can make an answer fit."""
    met = obliged(
        {"type": "max_result_bytes", "bytes": 100}, {"type": "drop_fields", "pointers": ["/long"]}
    ).meet({"long": "x" * 500, "short": 1}, (), limit=1)
    assert met.encoded.data == b'{"short":1}'


def test_what_is_redacted_is_in_no_digest_excerpt_or_memory_key() -> None:
    """All that is kept and reported of an answer is made of what is left of it."""
    secret = "ghp_" + "a1B2" * 9
    redacting = obliged({"type": "redact_result", "patterns": ["secrets"]})
    met = redacting.meet({"text": secret}, (MemoryWrite(key=secret, version=3, digest="d"),), limit=1)
    left = canonicalize({"text": REDACTED})
    assert (met.encoded.data, met.encoded.excerpt, met.encoded.digest) == (left, left, digest(left))
    assert met.memory_writes == (MemoryWrite(key=REDACTED, version=3, digest="d"),)
    assert secret not in repr(met)


def test_without_an_answer_it_is_told_what_was_kept_to() -> None:
    """The time limit held, and of what was to be done to an answer it is told that none came."""
    told = obliged({"type": "timeout", "seconds": 5}, {"type": "redact_result", "patterns": ["secrets"]})
    assert details(told.unanswered(limit=5)) == {
        "timeout": "limited to 5 s",
        "redact_result": "no answer came",
    }


def test_a_dry_run_beats_all() -> None:
    """Nothing ran, so no time was limited and no sandbox made; the answer is cleared all the same."""
    dry = obliged(
        {"type": "sandbox", "network": True},
        {"type": "timeout", "seconds": 5},
        {"type": "require_idempotency_key"},
        {"type": "redact_result", "patterns": ["secrets"]},
        {"type": "dry_run"},
    )
    assert dry.is_dry
    met = dry.meet({"argv": ["curl", "Bearer abcdefghijklmnopqrst"]}, (), limit=5)
    assert json.loads(met.encoded.data) == {"argv": ["curl", REDACTED]}
    assert details(met.results) == {
        "sandbox": "nothing ran",
        "timeout": "nothing ran",
        "require_idempotency_key": "nothing ran",
        "redact_result": "1 place redacted",
        "dry_run": "nothing ran",
    }


def test_no_detail_holds_a_value() -> None:
    """What is told of an obligation are numbers and names of roots."""
    met = obliged(
        {"type": "redact_result", "pointers": ["/a"]},
        {"type": "require_idempotency_key"},
        {"type": "sandbox", "network": True},
    ).meet({"a": "swordfish"}, (), limit=1)
    assert "swordfish" not in repr(met)
    assert (
        details(met.results)["sandbox"] == "in a sandbox: network as the catalog has it, writing to nothing"
    )
    assert details(met.results)["require_idempotency_key"] == "the key is the token's id"
