"""Credentials for many callers at once, put straight into a store that no service has open yet."""

import contextlib
import functools
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from interlock.adapters import credentials_sqlite
from interlock.adapters.store_sqlite import open_store
from interlock.compose.places import service_of, store_file
from interlock.compose.settings import load_settings
from interlock.compose.store import open_for_verbs
from interlock.core.identity import Caller, CallerKind, Credential, credential_text, hash_secret


def agent(tenant: str, name: str, role: str) -> Caller:
    """An agent that is to have a credential."""
    return _caller(CallerKind.AGENT, tenant, name, (role,))


def gateway(tenant: str, name: str) -> Caller:
    """A gateway that is to have a credential."""
    return _caller(CallerKind.GATEWAY, tenant, name, ())


def approver(tenant: str, name: str, role: str) -> Caller:
    """An approver who is to have a credential."""
    return _caller(CallerKind.APPROVER, tenant, name, (role,))


def give_credentials(settings: Path, callers: Sequence[Caller]) -> list[str]:
    """The text of a new credential for each caller, all of them made in one transaction."""
    path = store_file(service_of(load_settings(settings)))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = open_store(path)
    texts: list[str] = []
    with contextlib.closing(connection), connection:
        add = functools.partial(credentials_sqlite.add_credential, connection)
        texts.extend(_give(add, caller) for caller in callers)
    return texts


def give_credentials_in(address: str, settings: Path, callers: Sequence[Caller]) -> list[str]:
    """The same in the PostgreSQL at `address`, one after the other."""
    service = service_of(load_settings(settings, store=address))
    with open_for_verbs(service, read_only=False) as store:
        return [_give(store.add_credential, caller) for caller in callers]


def _give(add: Callable[[Credential], None], caller: Caller) -> str:
    secret = secrets.token_urlsafe(32)
    add(Credential(caller=caller, secret_hash=hash_secret(secret), create_time=datetime.now(UTC)))
    return credential_text(caller.credential_id, secret)


def _caller(kind: CallerKind, tenant: str, name: str, roles: tuple[str, ...]) -> Caller:
    return Caller(kind=kind, tenant=tenant, name=name, roles=roles, credential_id=secrets.token_hex(8))
