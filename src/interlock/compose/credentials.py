"""Giving out and ending credentials, beside a running decision service or without one."""

import re
import secrets
from collections.abc import Sequence

from interlock.adapters.clock import SystemClock
from interlock.compose.places import service_of
from interlock.compose.settings import Settings
from interlock.compose.store import open_for_verbs
from interlock.core.identity import EVERY_TENANT, Caller, CallerKind, Credential, credential_text, hash_secret

_IDENTIFIER = re.compile(r"[a-z0-9-]{1,64}\Z")


class CredentialError(ValueError):
    """A credential that cannot be given or ended; the message says why."""


def create_credential(
    settings: Settings, *, kind: CallerKind, name: str, tenant: str, roles: Sequence[str]
) -> tuple[Credential, str]:
    """A new credential and its text, which is nowhere kept and cannot be shown again. Raises CredentialError."""
    _check(kind, name=name, tenant=tenant, roles=roles)
    secret = secrets.token_urlsafe(32)
    caller = Caller(
        kind=kind, tenant=tenant, name=name, roles=tuple(roles), credential_id=secrets.token_hex(8)
    )
    credential = Credential(caller=caller, secret_hash=hash_secret(secret), create_time=SystemClock().now())
    with open_for_verbs(service_of(settings), read_only=False) as store:
        store.add_credential(credential)
    return credential, credential_text(caller.credential_id, secret)


def list_credentials(settings: Settings) -> list[Credential]:
    """All credentials, also revoked ones."""
    with open_for_verbs(service_of(settings), read_only=False) as store:
        return store.list_credentials()


def revoke_credential(settings: Settings, credential_id: str) -> None:
    """End a credential; a running service takes it for another second at most. Raises CredentialError."""
    with open_for_verbs(service_of(settings), read_only=False) as store:
        if not store.revoke_credential(credential_id, SystemClock().now()):
            raise CredentialError(
                f"there is no credential `{credential_id}` to revoke; see `interlock credentials list`"
            )


def _check(kind: CallerKind, *, name: str, tenant: str, roles: Sequence[str]) -> None:
    for label, value in (("name", name), ("tenant", tenant), *(("role", role) for role in roles)):
        if not _IDENTIFIER.match(value):
            raise CredentialError(f"{label} `{value}` must be 1 to 64 characters of [a-z0-9-]")
    if kind is CallerKind.AGENT and not roles:
        raise CredentialError("an agent needs at least one role, or every proposal of it is denied")
    if kind is CallerKind.APPROVER and not roles:
        raise CredentialError("an approver needs at least one role, or the policy lets it approve nothing")
    if kind is CallerKind.OPERATOR and set(roles) - {EVERY_TENANT}:
        raise CredentialError(f"an operator may have the role `{EVERY_TENANT}` and no other")
    if kind not in (CallerKind.AGENT, CallerKind.OPERATOR, CallerKind.APPROVER) and roles:
        raise CredentialError(
            f"roles are for agents, operators and approvers, not for a credential of kind `{kind}`"
        )
