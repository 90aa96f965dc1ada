"""Credentials as rows of a table, the same on every store."""

from collections.abc import Sequence
from typing import Any

import orjson

from interlock.core.identity import Caller, CallerKind, Credential
from interlock.core.moments import from_microseconds, to_microseconds

COLUMNS = "credential_id, kind, tenant, name, roles, secret_hash, create_time, revoke_time"


def to_row(credential: Credential) -> tuple[Any, ...]:
    """The credential as it is stored; `roles` is a JSON array."""
    caller, revoked = credential.caller, credential.revoke_time
    return (
        caller.credential_id,
        caller.kind.value,
        caller.tenant,
        caller.name,
        orjson.dumps(caller.roles).decode(),
        credential.secret_hash,
        to_microseconds(credential.create_time),
        None if revoked is None else to_microseconds(revoked),
    )


def from_row(row: Sequence[Any]) -> Credential:
    """The credential that is stored."""
    credential_id, kind, tenant, name, roles, secret_hash, create_time, revoke_time = row
    return Credential(
        caller=Caller(
            kind=CallerKind(kind),
            tenant=tenant,
            name=name,
            roles=tuple(orjson.loads(roles)),
            credential_id=credential_id,
        ),
        secret_hash=secret_hash,
        create_time=from_microseconds(create_time),
        revoke_time=None if revoke_time is None else from_microseconds(revoke_time),
    )
