"""Records of the decision log: what a record is, and what its hashes cover.

A leaf is the canonical JSON (RFC 8785) of all fields of a record. Leaves are hashed as in RFC 9162 2.1.1, so
that a Merkle tree can be laid over the same leaves; until then a hash chain binds each record to all before.
A decision's record is a superset of OPA's decision log event (EventV1): same names where both have a field.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from interlock.core.canonical import canonicalize, parse_canonical
from interlock.core.cells import Cells

VERSION = 1
GENESIS = bytes(32)
"""Chain hash before the first record."""

_LEAF = b"\x00"
_LINK = b"\x01"
_HEAD = re.compile(r"(0|[1-9][0-9]{0,14}):([0-9a-f]{64})")


class RecordType(StrEnum):
    """What a record is about."""

    DECISION = "decision"
    FAILURE = "failure"
    OUTCOME = "outcome"
    POLICY_ACTIVATION = "policy_activation"
    FREEZE = "freeze"
    TOOL_DRIFT = "tool_drift"
    RECONCILIATION = "reconciliation"
    APPROVAL = "approval"


class DraftChange(Protocol):
    """What a record changes besides the log, in the transaction that stores it: both or neither."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The cells that it reads or writes."""
        ...

    def run(self, draft: "Draft", cells: Cells, log_index: int, /) -> "Draft":
        """Do it, and give the draft that is to be sealed: the same, or one that tells what was lacking.

        `log_index` is the place that its record gets.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A record that has no place in the log yet.

    `once` names what may stand in the log only once (a request, an execution); empty where any number may.
    `session` is the session that it belongs to, as `session_name` writes it; empty for none. `change` is what
    it changes besides; it is not run where the log has the record already. `with_once` names a draft before it, of
    the same append: only where that one is stored, this one is.
    """

    type: RecordType
    tenant: str
    once: str
    decision_id: str
    timestamp: datetime
    fields: Mapping[str, Any]
    session: str = ""
    change: DraftChange | None = None
    with_once: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record in its place. `content` is the canonical JSON that `leaf_hash` covers; hashes are 32 bytes."""

    log_index: int
    type: RecordType
    tenant: str
    once: str
    decision_id: str
    session: str
    timestamp: datetime
    content: bytes
    leaf_hash: bytes
    chain_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the log stands: how many records, and the chain hash of the last."""

    size: int
    chain_hash: bytes


EMPTY = Head(size=0, chain_hash=GENESIS)


def session_name(agent: str, session_id: str) -> str:
    """How a record names its session, within its tenant: an agent's name has no `/`."""
    return f"{agent}/{session_id}"


def format_head(head: Head) -> str:
    """`SIZE:HASH`, the hash in hexadecimal: short enough to be noted elsewhere, as a bare chain needs.

    A chain alone cannot show that its end was cut off, or that it was written anew (case 20).
    """
    return f"{head.size}:{head.chain_hash.hex()}"


def parse_head(text: str) -> Head:
    """The head that `format_head` wrote. Raises ValueError."""
    match = _HEAD.fullmatch(text)
    if match is None:
        raise ValueError(f"a head is `SIZE:HASH` with 64 characters of [0-9a-f], got `{text[:128]}`")
    return Head(size=int(match[1]), chain_hash=bytes.fromhex(match[2]))


def seal(draft: Draft, head: Head) -> Record:
    """The record that follows `head`."""
    content = canonicalize(
        {
            **draft.fields,
            **({"session": draft.session} if draft.session else {}),
            "version": VERSION,
            "log_index": head.size,
            "type": draft.type.value,
            "tenant": draft.tenant,
            "once": draft.once,
            "decision_id": draft.decision_id,
            "timestamp": rfc3339(draft.timestamp),
        }
    )
    leaf = leaf_hash(content)
    return Record(
        log_index=head.size,
        type=draft.type,
        tenant=draft.tenant,
        once=draft.once,
        decision_id=draft.decision_id,
        session=draft.session,
        timestamp=draft.timestamp,
        content=content,
        leaf_hash=leaf,
        chain_hash=link(head.chain_hash, leaf),
    )


def head_after(record: Record) -> Head:
    """The head of a log whose last record this is."""
    return Head(size=record.log_index + 1, chain_hash=record.chain_hash)


def leaf_hash(content: bytes) -> bytes:
    """SHA-256(0x00 || content) (RFC 9162 2.1.1)."""
    return hashlib.sha256(_LEAF + content).digest()


def link(previous: bytes, leaf: bytes) -> bytes:
    """SHA-256(0x01 || previous chain hash || leaf hash)."""
    return hashlib.sha256(_LINK + previous + leaf).digest()


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always of one length."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def fields(record: Record) -> dict[str, Any]:
    """All fields of a record."""
    return parse_canonical(record.content)


def told(stated: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Verdict and reasons that the caller of a decision heard, from the fields of its record.

    They are the policy's own but where a reservation was lacking; an older record has nothing but the policy's.
    """
    result = stated["result"]
    return stated.get("verdict", result["verdict"]), stated.get("lacking") or result["reasons"]


def proposed(stated: Mapping[str, Any]) -> str:
    """What was proposed, from the fields of a record: a tool's name, or `plan of 3 steps`; empty where nothing was."""
    document = stated.get("input", {})
    if "tool" in document:
        return str(document["tool"]["name"])
    return f"plan of {len(document['plan']['steps'])} steps" if "plan" in document else ""


def disagreement(record: Record) -> str:
    """How what is kept beside the content differs from the content that the hashes cover; empty if it does not."""
    try:
        stated = fields(record)
        canonical = canonicalize(stated)
    except ValueError:
        return "has a content that is no JSON"
    # Other bytes could be read as another record, such as those with a key twice (case 27).
    if canonical != record.content:
        return "has a content that is not in canonical form"
    kept = {
        "log_index": record.log_index,
        "type": record.type.value,
        "tenant": record.tenant,
        "decision_id": record.decision_id,
        "timestamp": rfc3339(record.timestamp),
        "once": record.once,
    }
    wrong = [name for name, value in kept.items() if stated.get(name) != value]
    if stated.get("session", "") != record.session:
        wrong.append("session")
    return f"has another {', '.join(wrong)} in its columns than in its content" if wrong else ""


def problem(record: Record, head: Head) -> str:
    """What is wrong with a record that stands where one that follows `head` should; empty if nothing is."""
    if record.log_index != head.size:
        return f"follows a gap, expected record {head.size}"
    if damage := inner_problem(record):
        return damage
    if link(head.chain_hash, record.leaf_hash) != record.chain_hash:
        return "does not match the chain of the records before it"
    return ""


def inner_problem(record: Record) -> str:
    """What is wrong with a record in itself, wherever it stands; empty if nothing is."""
    if leaf_hash(record.content) != record.leaf_hash:
        return "does not match its leaf hash"
    return disagreement(record)
