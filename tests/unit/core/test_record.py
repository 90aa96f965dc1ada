"""Records: what a hash covers, and that nothing of a log can be changed unseen."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core import record as records
from interlock.core.canonical import UnencodableError, canonicalize
from interlock.core.record import EMPTY, Draft, Head, Record, RecordType, seal

AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


def draft(number: int = 0, **changes: Any) -> Draft:
    made = Draft(
        type=RecordType.DECISION,
        tenant="acme",
        once=f"decision/acme/agent-7/request-{number}",
        decision_id=f"decision-{number}",
        timestamp=AT + timedelta(seconds=number),
        fields={"result": {"verdict": "allow", "number": number}},
    )
    return replace(made, **changes)


def chain(length: int) -> list[Record]:
    log: list[Record] = []
    for number in range(length):
        log.append(seal(draft(number), records.head_after(log[-1]) if log else EMPTY))
    return log


def broken(log: Sequence[Record], head: Head) -> bool:
    """Whether a reader who goes through the log, and knows its head from elsewhere, finds anything wrong."""
    at = EMPTY
    for record in log:
        if records.problem(record, at):
            return True
        at = records.head_after(record)
    return at != head


def rehashed(record: Record, content: bytes, previous: bytes) -> Record:
    """A record that somebody changed and hashed anew."""
    leaf = hashlib.sha256(b"\0" + content).digest()
    return replace(
        record, content=content, leaf_hash=leaf, chain_hash=hashlib.sha256(b"\1" + previous + leaf).digest()
    )


# Sealing


def test_the_hashes_are_those_of_the_definition() -> None:
    """A leaf is SHA-256 of 0x00 and the canonical fields, a chain hash of 0x01, the one before, the leaf."""
    first, second = chain(2)
    content = (
        b'{"decision_id":"decision-1","log_index":1,"once":"decision/acme/agent-7/request-1",'
        b'"result":{"number":1,"verdict":"allow"},"tenant":"acme","timestamp":"2026-03-01T12:00:01.000001Z",'
        b'"type":"decision","version":1}'
    )
    leaf = hashlib.sha256(b"\x00" + content).digest()
    assert second.content == content
    assert second.leaf_hash == leaf
    assert second.chain_hash == hashlib.sha256(b"\x01" + first.chain_hash + leaf).digest()
    assert first.chain_hash == hashlib.sha256(b"\x01" + bytes(32) + first.leaf_hash).digest()


def test_a_record_keeps_its_draft() -> None:
    """What a record holds beside its content is what its draft said, and its place is after the head."""
    made = seal(draft(7), Head(size=41, chain_hash=b"c" * 32))
    assert (made.log_index, made.type, made.tenant) == (41, RecordType.DECISION, "acme")
    assert (made.once, made.decision_id) == ("decision/acme/agent-7/request-7", "decision-7")
    assert made.timestamp == AT + timedelta(seconds=7)
    assert records.head_after(made) == Head(size=42, chain_hash=made.chain_hash)


def test_a_field_cannot_pass_for_another() -> None:
    """A draft's own fields never take the place of what a record is named by."""
    reserved = {
        "version": 9,
        "log_index": 9,
        "type": "x",
        "tenant": "x",
        "once": "x",
        "decision_id": "x",
        "timestamp": "x",
    }
    assert seal(draft(fields=reserved), EMPTY) == seal(draft(fields={}), EMPTY)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": RecordType.FAILURE},
        {"tenant": "globex"},
        {"once": ""},
        {"decision_id": ""},
        {"timestamp": AT + timedelta(microseconds=1)},
        {"fields": {}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_is_under_the_hash(changes: dict[str, Any]) -> None:
    """There is no field of a record that its hash does not cover (case 20)."""
    assert seal(draft(**changes), EMPTY).leaf_hash != seal(draft(), EMPTY).leaf_hash


def test_a_value_without_canonical_form_makes_no_record() -> None:
    """What cannot be written down exactly is refused instead of rounded (case 29)."""
    for value in (float("nan"), 2**53, "\ud800", object()):
        with pytest.raises(UnencodableError):
            seal(draft(fields={"value": value}), EMPTY)


def test_fields_gives_back_what_was_sealed() -> None:
    """The content is read as the fields that it was made of."""
    assert records.fields(chain(1)[0]) == {
        "version": 1,
        "log_index": 0,
        "type": "decision",
        "tenant": "acme",
        "once": "decision/acme/agent-7/request-0",
        "decision_id": "decision-0",
        "timestamp": "2026-03-01T12:00:00.000001Z",
        "result": {"verdict": "allow", "number": 0},
    }


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00.000000Z"),
        (datetime(2026, 3, 1, 0, 0, 0, 123, tzinfo=UTC), "2026-03-01T00:00:00.000123Z"),
        (
            datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=1, minutes=30))),
            "2026-03-01T00:00:00.000000Z",
        ),
    ],
)
def test_times_have_one_form(moment: datetime, text: str) -> None:
    """A time is written in UTC with six digits, whatever its zone (RFC 3339)."""
    assert records.rfc3339(moment) == text


# Heads


@given(size=st.integers(0, 10**15 - 1), chain_hash=st.binary(min_size=32, max_size=32))
def test_a_head_can_be_noted_and_read(size: int, chain_hash: bytes) -> None:
    """A head that is written down is read as the same head."""
    head = Head(size=size, chain_hash=chain_hash)
    assert records.parse_head(records.format_head(head)) == head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:",
        ":" + "0" * 64,
        "01:" + "0" * 64,
        "-1:" + "0" * 64,
        "1:" + "0" * 63,
        "1:" + "G" * 64,
        "1:" + "0" * 64 + "\n",
    ],
)
def test_refuses_a_head_of_another_form(text: str) -> None:
    """A head that was cut or mistyped is an error, never a head."""
    with pytest.raises(ValueError, match="a head is"):
        records.parse_head(text)


# Finding changes


def test_a_whole_log_is_in_order() -> None:
    """A log as it was written has no problem, an empty one included."""
    for length in range(6):
        log = chain(length)
        assert not broken(log, records.head_after(log[-1]) if log else EMPTY)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"log_index": 3}, "follows a gap, expected record 2"),
        ({"content": b"{}"}, "does not match its leaf hash"),
        ({"leaf_hash": bytes(32)}, "does not match its leaf hash"),
        ({"chain_hash": bytes(32)}, "does not match the chain of the records before it"),
        ({"tenant": "globex"}, "has another tenant in its columns than in its content"),
        ({"type": RecordType.FAILURE}, "has another type in its columns than in its content"),
        ({"once": ""}, "has another once in its columns than in its content"),
        ({"decision_id": "x", "timestamp": AT}, "has another decision_id, timestamp in its columns"),
    ],
    ids=str,
)
def test_a_problem_is_named(changes: dict[str, Any], problem: str) -> None:
    """What is wrong with a record is told in words, and nothing is for the record that was written (case 20)."""
    log = chain(3)
    head = records.head_after(log[1])
    assert records.problem(log[2], head) == ""
    assert problem in records.problem(replace(log[2], **changes), head)


@given(
    number=st.integers(0, 4),
    position=st.integers(0, 10**6),
    bit=st.integers(0, 7),
    field=st.sampled_from(["content", "leaf_hash", "chain_hash"]),
)
def test_any_flip_of_a_bit_is_found(number: int, position: int, bit: int, field: str) -> None:
    """One bit of any record's content or hashes cannot change unseen (case 20)."""
    log = chain(5)
    head = records.head_after(log[-1])
    data = bytearray(getattr(log[number], field))
    data[position % len(data)] ^= 1 << bit
    changes: dict[str, Any] = {field: bytes(data)}
    log[number] = replace(log[number], **changes)
    assert broken(log, head)


@given(order=st.permutations(range(5)).filter(lambda order: order != list(range(5))))
def test_any_other_order_is_found(order: list[int]) -> None:
    """Records cannot be swapped unseen, also when they are numbered anew (case 20)."""
    log = chain(5)
    swapped = [log[number] for number in order]
    renumbered = [replace(record, log_index=place) for place, record in enumerate(swapped)]
    for changed in (swapped, renumbered):
        assert broken(changed, records.head_after(log[-1]))


@given(kept=st.sets(st.integers(0, 4), max_size=4))
def test_any_cut_is_found(kept: set[int]) -> None:
    """Records cannot be taken away unseen, from the end neither, for whoever knows the head (case 20)."""
    log = chain(5)
    cut = [log[number] for number in sorted(kept)]
    renumbered = [replace(record, log_index=place) for place, record in enumerate(cut)]
    for changed in (cut, renumbered):
        assert broken(changed, records.head_after(log[-1]))


@given(number=st.integers(0, 4))
def test_a_record_that_is_put_in_twice_is_found(number: int) -> None:
    """A record cannot be repeated unseen."""
    log = chain(5)
    assert broken([*log[: number + 1], *log[number:]], records.head_after(log[-1]))


@given(number=st.integers(0, 4))
def test_a_chain_that_is_written_anew_is_found(number: int) -> None:
    """Whoever changes a record and hashes all after it anew is found out by the head (case 20)."""
    log = chain(5)
    head, forged = records.head_after(log[-1]), log[:number]
    for place, record in enumerate(log[number:], start=number):
        stated = json.loads(record.content)
        if place == number:
            stated["result"]["verdict"] = "deny"
        previous = forged[-1].chain_hash if forged else bytes(32)
        forged.append(rehashed(record, canonicalize(stated), previous))
    assert all(not records.problem(record, records.head_after(before)) for before, record in pairwise(forged))
    assert broken(forged, head)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b'"x"', b"{}"])
def test_a_content_that_is_no_record_is_a_problem(content: bytes) -> None:
    """A forged content that cannot be read is a problem to tell, never a crash of the reader (case 20)."""
    (record,) = chain(1)
    assert records.problem(rehashed(record, content, bytes(32)), EMPTY)


@pytest.mark.parametrize(
    ("old", "new"), [(b"}", b"} "), (b":0,", b":0.0,"), (b'{"decision_id"', b'{"version":2,"decision_id"')]
)
def test_a_content_in_another_form_is_a_problem(old: bytes, new: bytes) -> None:
    """The same fields in other bytes, or one of them twice, are not the record: a leaf has one form (case 27)."""
    (record,) = chain(1)
    forged = rehashed(record, record.content.replace(old, new), bytes(32))
    assert records.problem(forged, EMPTY) == "has a content that is not in canonical form"
