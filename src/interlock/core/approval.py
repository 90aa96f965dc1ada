"""An approval: people's answer to an escalated decision, bound to the exact digest of what was proposed.

Its life is the table TRANSITIONS, and nothing else. Every change is a record of the decision log under a name that only
one record can bear (`once_of`), and runs in the transaction that stores it: of two that answer at once, one is first,
and the other sees what the first one left (case 49).
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from interlock.core.canonical import digest_of
from interlock.core.identity import Caller
from interlock.core.reason import Reason


class ApprovalState(StrEnum):
    """How far an approval is. Only `approved` is a yes, and only until it expires, is used or is denied."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


class Resolution(StrEnum):
    """A person's answer."""

    APPROVE = "approve"
    DENY = "deny"


class Event(StrEnum):
    """What can happen to an approval.

    `answer`: one more person approves, and others still must. `use`: a decision was granted with it.
    """

    ANSWER = "answer"
    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"
    SUPERSEDE = "supersede"
    USE = "use"


TRANSITIONS: Mapping[tuple[ApprovalState, Event], ApprovalState] = {
    (ApprovalState.PENDING, Event.ANSWER): ApprovalState.PENDING,
    (ApprovalState.PENDING, Event.APPROVE): ApprovalState.APPROVED,
    (ApprovalState.PENDING, Event.DENY): ApprovalState.DENIED,
    (ApprovalState.PENDING, Event.EXPIRE): ApprovalState.EXPIRED,
    (ApprovalState.PENDING, Event.WITHDRAW): ApprovalState.WITHDRAWN,
    (ApprovalState.PENDING, Event.SUPERSEDE): ApprovalState.SUPERSEDED,
    # A deny wins a tie with an approve in either order: until a decision was granted with it.
    (ApprovalState.APPROVED, Event.DENY): ApprovalState.DENIED,
    (ApprovalState.APPROVED, Event.EXPIRE): ApprovalState.EXPIRED,
    (ApprovalState.APPROVED, Event.WITHDRAW): ApprovalState.WITHDRAWN,
    (ApprovalState.APPROVED, Event.SUPERSEDE): ApprovalState.SUPERSEDED,
    (ApprovalState.APPROVED, Event.USE): ApprovalState.APPROVED,
}
"""What may follow what; anything else is refused. Once used, an approval changes no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """All that an approval stands for; of anything else it says nothing (case 51).

    Digests are SHA-256, base64url without padding. `tool` and `catalog_digest` are empty for a plan, whose
    `plan_digest` covers those of its steps; `arguments_digest` is then the plan's too. `destinations` is
    `digest_of_destinations`, and `files` the digest of the referenced files' digests, empty for none.
    """

    tenant: str
    agent: str
    user: str
    tool: str
    catalog_digest: str
    arguments_digest: str
    plan_digest: str
    destinations: str
    files: str
    policy_revision: str

    def as_json(self) -> dict[str, str]:
        """The binding as it stands on record."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, base64url without padding."""
        return _digest(self)


@functools.lru_cache(maxsize=4_096)
def _digest(binding: Binding) -> str:
    return digest_of(binding.as_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one person answered, with the roles and the credential of then.

    `standing` is the digest of the terms of the standing approval that was asked for, empty for none.
    """

    approver: str
    roles: tuple[str, ...]
    credential_id: str
    resolution: Resolution
    comment: str
    time: datetime
    edited: bool = False
    standing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An approval as it stands.

    `tool` is the tool's name, or `plan of N steps`. `decision_id` is the escalated decision that opened it; its record
    holds what was proposed. `authors` are the names of all agents and users that the proposal comes from, none of whom
    may answer. `answers` are of the bytes as they are now: an edit clears those before it. `shown_version` is the
    version in which these bytes were first seen. `expire_time` is until when it waits, once approved until when its
    proposal must be asked for again, `use_seconds` after the last approve. `group` is the same for calls of one tool
    with like arguments. `used_by` is the decision that was granted with it. `binding` is of the bytes as they are now;
    `opened_as` is the digest of that which it was opened with, another one where an approver edited.
    """

    approval_id: str
    tenant: str
    agent: str
    user: str
    tool: str
    decision_id: str
    session_id: str
    binding: Binding
    reasons: tuple[Reason, ...]
    authors: tuple[str, ...]
    priority: int
    quorum: int
    roles: tuple[str, ...]
    use_seconds: int
    group: str
    open_time: datetime
    expire_time: datetime
    version: int = 1
    shown_version: int = 1
    state: ApprovalState = ApprovalState.PENDING
    answers: tuple[Answer, ...] = ()
    resolve_time: datetime | None = None
    opened_as: str = ""
    joined: int = 0
    used_by: str = ""

    @property
    def edited(self) -> bool:
        """Whether an approver changed the arguments."""
        return self.binding.digest != self.opened_as

    @property
    def is_open(self) -> bool:
        """Whether something may come of it yet: it waits, or is approved and not used."""
        return self.state in (ApprovalState.PENDING, ApprovalState.APPROVED) and not self.used_by

    def with_joined(self, joined: int, authors: Iterable[str]) -> "Approval":
        """The approval with those who joined it, as long as it waits."""
        return replace(self, joined=joined, authors=tuple(sorted({*self.authors, *authors})))

    def as_if_approved_by(self, caller: Caller, at: datetime) -> "Approval":
        """The approval as it would be if this caller approved it now, and that were enough."""
        answer = Answer(
            approver=caller.name,
            roles=caller.roles,
            credential_id=caller.credential_id,
            resolution=Resolution.APPROVE,
            comment="",
            time=at,
        )
        return replace(self, answers=(*self.answers, answer))

    def is_over(self, at: datetime) -> bool:
        """Whether its time is over, also where nobody has put that on record yet."""
        return self.is_open and at >= self.expire_time

    def as_of(self, at: datetime) -> "Approval":
        """The approval as whoever only looks sees it: expired once its time is over, on record or not."""
        return replace(self, state=ApprovalState.EXPIRED) if self.is_over(at) else self

    def takes(self, event: Event) -> bool:
        """Whether this may happen to it now."""
        return not self.used_by and (self.state, event) in TRANSITIONS

    def after(self, event: Event, at: datetime, **changed: Any) -> "Approval":
        """The approval after the event. Raises ValueError for what the table does not have."""
        if not self.takes(event):
            raise ValueError(f"an approval that is `{self.state}` takes no `{event}`")
        state = TRANSITIONS[self.state, event]
        resolve_time = at if state is not self.state else self.resolve_time
        return replace(self, state=state, version=self.version + 1, resolve_time=resolve_time, **changed)


def once_of(tenant: str, approval_id: str, version: int) -> str:
    """The name of the record that changes this version: only one can bear it."""
    return f"approval/{tenant}/{approval_id}/{version}"
