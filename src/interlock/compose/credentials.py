"""Giving out and ending credentials, beside a running decision service or without one."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Sequence

import apsw

from interlock.adapters import credentials_sqlite
from interlock.adapters.clock import SystemClock
from interlock.adapters.store_sqlite import open_store
from interlock.compose.places import service_of, store_file
from interlock.compose.settings import Settings
from interlock.core.identity import Caller, CallerKind, Credential, credential_text, hash_secret

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
    with _store(settings) as store:
        credentials_sqlite.add_credential(store, credential)
    return credential, credential_text(caller.credential_id, secret)


def list_credentials(settings: Settings) -> list[Credential]:
    """All credentials, also revoked ones."""
    with _store(settings) as store:
        return credentials_sqlite.list_credentials(store)


def revoke_credential(settings: Settings, credential_id: str) -> None:
    """End a credential; a running service takes it for another second at most. Raises CredentialError."""
    with _store(settings) as store:
        if not credentials_sqlite.revoke_credential(store, credential_id, SystemClock().now()):
            raise CredentialError(
                f"there is no credential `{credential_id}` to revoke; see `interlock credentials list`"
            )


@contextlib.contextmanager
def _store(settings: Settings) -> Iterator[apsw.Connection]:
    path = store_file(service_of(settings))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = open_store(path)
    connection.set_busy_timeout(5_000)
    try:
        yield connection
    finally:
        connection.close()


def _check(kind: CallerKind, *, name: str, tenant: str, roles: Sequence[str]) -> None:
    for label, value in (("name", name), ("tenant", tenant), *(("role", role) for role in roles)):
        if not _IDENTIFIER.match(value):
            raise CredentialError(f"{label} `{value}` must be 1 to 64 characters of [a-z0-9-]")
    if kind is CallerKind.AGENT and not roles:
        raise CredentialError("an agent needs at least one role, or every proposal of it is denied")
    if kind is not CallerKind.AGENT and roles:
        raise CredentialError(f"roles are for agents, not for a credential of kind `{kind}`")
