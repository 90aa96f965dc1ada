"""Values of approvals, for who answers them and who looks at them."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from interlock.client.values import Reason, Verdict


class ApprovalState(StrEnum):
    """How far an approval is. `unrecognized`: the service is newer than this client."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    UNRECOGNIZED = "unrecognized"


class Resolution(StrEnum):
    """A person's answer. `unrecognized`: the service is newer than this client."""

    APPROVE = "approve"
    DENY = "deny"
    UNRECOGNIZED = "unrecognized"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswer:
    """What one person answered, with the roles of then; `edited` if they changed the arguments with it."""

    approver: str
    roles: tuple[str, ...]
    resolution: Resolution
    comment: str
    time: datetime
    edited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to people, bound to exactly what was proposed; times are in UTC.

    `version` counts its changes, from 1. `decision_id` is the escalated decision that opened it, `used_by` the one that
    was made with it, empty while there is none. `tool` is `plan of N steps` for a plan. `reasons` are why people are
    asked, `priority` how urgently, 0 to 100. `quorum` people must approve; `roles` may, as the policy saw it when the
    approval was opened. `expire_time` is until when it waits, once approved until when the agent must ask again;
    `resolve_time` is None while it waits. Digests are SHA-256, base64url without padding. Approvals of one `group` are
    of the same tool and of like arguments. `joined` more proposals wait for it besides the first. `edited` if an
    approver changed the arguments.
    """

    approval_id: str
    version: int
    state: ApprovalState
    agent: str
    user: str
    tool: str
    decision_id: str
    session_id: str
    reasons: tuple[Reason, ...]
    priority: int
    quorum: int
    roles: tuple[str, ...]
    answers: tuple[ApprovalAnswer, ...]
    open_time: datetime
    expire_time: datetime
    resolve_time: datetime | None
    binding_digest: str
    arguments_digest: str
    group: str
    joined: int
    edited: bool
    used_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalCall:
    """One call that was proposed, as the record of its decision has it. `step_id` is empty for a single call.

    `arguments` is `arguments_json` as a value: those are the exact bytes in canonical form (RFC 8785), in which each
    sensitive value is replaced by `{"concealed": DIGEST}`; `concealed` are JSON Pointers to these. `effects` are the
    tool's, `facts` were measured of the call, `destinations` are where its arguments lead, and `files` the SHA-256
    (hexadecimal) of the files that it names, by canonical path; or `absent`, `not_a_file`, or `unread`, to
    which the approval is not bound.
    """

    step_id: str
    tool: str
    effects: tuple[str, ...]
    arguments: dict[str, Any] = field(repr=False)
    arguments_json: bytes = field(repr=False)
    arguments_digest: str
    concealed: tuple[str, ...]
    facts: dict[str, Any] = field(repr=False)
    destinations: tuple[dict[str, Any], ...] = field(repr=False)
    files: dict[str, str] = field(repr=False)
    reasons: tuple[Reason, ...]

    @property
    def matches_digest(self) -> bool | None:
        """Whether these bytes are the ones that were decided; None where something is concealed, so that none can tell.

        Show no arguments to a person of which this is False.
        """
        if self.concealed:
            return None
        sha256 = hashlib.sha256(self.arguments_json).digest()
        return base64.urlsafe_b64encode(sha256).rstrip(b"=").decode() == self.arguments_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the policy says at the moment; it grants nothing."""

    verdict: Verdict
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedBefore:
    """The last call of the same group that was approved; its arguments are as those of an ApprovalCall."""

    approval_id: str
    resolve_time: datetime
    arguments: dict[str, Any] = field(repr=False)
    arguments_json: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownApproval:
    """An approval with all that an approver should see of it.

    `calls` has one entry for a single call, one for each step of a plan. `goal` is the agent's own words, and proves
    nothing. `preview` is what the policy would say now, None where it was not asked. `edited_arguments` are what an
    approver put in the place of the proposed ones, None where none did.
    """

    approval: Approval
    calls: tuple[ApprovalCall, ...]
    goal: str = field(repr=False)
    preview: Preview | None
    approved_before: ApprovedBefore | None
    edited_arguments: dict[str, Any] | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTerms:
    """How far a standing approval is to go.

    `arguments_schema` is a JSON Schema that the arguments must satisfy: it requires at least one argument, allows none
    that it does not name, and binds each. It is for 1 to 1,000 calls within 1 to 86,400 seconds, in the session of the
    approval only unless `this_session` is false.
    """

    arguments_schema: Mapping[str, Any] = field(repr=False)
    count: int
    life_seconds: int
    this_session: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingApproval:
    """People's yes to calls before they are proposed; `session_id` is empty for all sessions of the agent.

    It is for `remaining` of `count` calls of this very entry of the catalog, until `expire_time` (UTC). `codes` are
    those of the reasons that it answers; `approvers` gave it, with the approval `approval_id`.
    """

    standing_id: str
    agent: str
    user: str
    tool: str
    catalog_digest: str
    session_id: str
    arguments_schema: dict[str, Any] = field(repr=False)
    codes: tuple[str, ...]
    remaining: int
    count: int
    expire_time: datetime
    approvers: tuple[str, ...]
    approval_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What came of an answer. `preview` is what the policy says of the proposal with it, None unless it is approved.

    `standing` is the standing approval that was given too, None for none.
    """

    approval: Approval
    preview: Preview | None
    standing: StandingApproval | None
