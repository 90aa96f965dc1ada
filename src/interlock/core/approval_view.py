"""What people see of an approval: taken from the record of the decision, never from what an agent tells of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from interlock.core.approval import Approval, ApprovalState, Resolution
from interlock.core.reason import Reason
from interlock.core.standing import StandingApproval, StandingTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """One call that was proposed. `step_id` is empty for a single call.

    `arguments_json` is in canonical form, with each sensitive value replaced by `{"concealed": digest}`; `concealed`
    are JSON Pointers to these. Where there are none, `arguments_digest` is the digest of `arguments_json`. `files` are
    SHA-256 digests (hexadecimal) by canonical path, or words of core.named_files.FOUND.
    """

    step_id: str
    tool: str
    effects: tuple[str, ...]
    arguments_json: bytes = field(repr=False)
    arguments_digest: str
    concealed: tuple[str, ...]
    facts: Mapping[str, Any]
    destinations: Sequence[Mapping[str, Any]]
    files: Mapping[str, str]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the policy says at the moment; it grants nothing."""

    verdict: Literal["allow", "deny", "escalate"]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedBefore:
    """The last call of the same group that was approved; `arguments_json` as that of a ShownCall."""

    approval_id: str
    resolve_time: datetime
    arguments_json: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownApproval:
    """An approval with all that an approver should see. `goal` is the agent's own words, and proves nothing."""

    approval: Approval
    calls: tuple[ShownCall, ...]
    goal: str = field(repr=False)
    preview: Preview | None
    approved_before: ApprovedBefore | None
    edited_arguments_json: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which approvals, and which page of them: None for any state; `page_size` 0 is the default."""

    state: ApprovalState | None
    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """A person's answer as it came in. `edited_arguments_json` is empty for arguments as they are."""

    approval_id: str
    resolution: Resolution
    comment: str
    version: int
    binding_digest: str = ""
    edited_arguments_json: bytes = field(default=b"", repr=False)
    standing: StandingTerms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What came of an answer; `preview` is None unless the approval is approved."""

    approval: Approval
    preview: Preview | None
    standing: StandingApproval | None
