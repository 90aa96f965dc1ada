"""Who calls: always taken from the credential, never from a request body (invariant 6)."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_PREFIX = "ilk"
_CREDENTIAL = re.compile(rf"{_PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")


class CallerKind(StrEnum):
    """What a credential is for. The kinds are disjoint: no credential decides, acts and audits.

    `user` is a user's own credential: it says what a session is for, before an agent has read anything. `operator`
    is that of who stops agents: it freezes and ends freezes, and nothing else. `approver` is that of a person who
    answers escalated decisions; no other kind ever can (case 50).
    """

    AGENT = "agent"
    GATEWAY = "gateway"
    AUDITOR = "auditor"
    USER = "user"
    OPERATOR = "operator"
    APPROVER = "approver"


EVERY_TENANT = "every-tenant"
"""Role of an operator who may freeze in other tenants than the own, and all of them at once."""

DELEGATE_OF = "delegate-of-"
"""What the role of an approver begins with who acts for somebody: `delegate-of-alice` answers nothing of alice's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The holder of a verified credential. For a gateway, `name` is the audience of its tokens."""

    kind: CallerKind
    tenant: str
    name: str
    roles: tuple[str, ...]
    credential_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What is kept of a credential: who it names, and the SHA-256 of its secret (32 bytes).

    The secret has 256 random bits, so that a plain hash cannot be searched.
    """

    caller: Caller
    secret_hash: bytes
    create_time: datetime
    revoke_time: datetime | None = None


def credential_text(credential_id: str, secret: str) -> str:
    """The credential as its holder sends it; the prefix lets secret scanners find a leaked one."""
    return f"{_PREFIX}_{credential_id}_{secret}"


def split_credential(text: str) -> tuple[str, str] | None:
    """credential_id and secret; None where the text is no credential."""
    match = _CREDENTIAL.fullmatch(text)
    return (match[1], match[2]) if match else None


def hash_secret(secret: str) -> bytes:
    """What is stored in the secret's place."""
    return hashlib.sha256(secret.encode()).digest()


def verified_caller(credential: Credential | None, secret: str) -> Caller | None:
    """The caller whom the secret proves; None for an unknown or revoked credential, or a wrong secret."""
    if credential is None or credential.revoke_time is not None:
        return None
    right = hmac.compare_digest(credential.secret_hash, hash_secret(secret))
    return credential.caller if right else None
