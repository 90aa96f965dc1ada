"""Credentials in the store: only a hash is kept, and an end is an end within a second."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from interlock.adapters import credentials_postgres, credentials_sqlite, remembered_credentials
from interlock.adapters.remembered_credentials import REMEMBERED_SECONDS, Read, RememberedCredentials
from interlock.adapters.store_errors import StoreUnavailable, StoreUnusable
from interlock.compose.store import StoreForVerbs
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller, CallerKind, Credential, credential_text, hash_secret
from interlock.flows.authenticate import authenticate
from tests.contract.postgres import PostgresServer
from tests.contract.stores import STORED, Place, open_postgres, open_sqlite
from tests.fakes import NOON, MemoryCredentials
from tests.proposals import AGENT, GATEWAY

Result = TypeVar("Result")

SECRET = "s3cret-" * 6 + "x"
REFUSED = (StoreUnusable, StoreUnavailable)


class SettableSeconds:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def a_credential(caller: Caller = AGENT, **changes: Any) -> Credential:
    return replace(Credential(caller=caller, secret_hash=hash_secret(SECRET), create_time=NOON), **changes)


class Elsewhere:
    """The store as another process has it: the command line."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def add(self, credential: Credential) -> None:
        await self._do(lambda store: store.add_credential(credential))

    async def list(self) -> list[Credential]:
        return await self._do(lambda store: store.list_credentials())

    async def revoke(self, credential_id: str, now: datetime = NOON) -> bool:
        return await self._do(lambda store: store.revoke_credential(credential_id, now))

    async def _do(self, work: Callable[[StoreForVerbs], Result]) -> Result:
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[StoreForVerbs], Result]) -> Result:
        with self._place.open_for_verbs() as store:
            return work(store)


@pytest.fixture(params=STORED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    place = Place(request.param, tmp_path / "store.db", request)
    if place.kind == "postgres":
        assert place.address
    return place


@pytest.fixture
def elsewhere(place: Place) -> Elsewhere:
    return Elsewhere(place)


@pytest.fixture
def seconds() -> SettableSeconds:
    return SettableSeconds()


@pytest.fixture
async def read(place: Place) -> AsyncIterator[Read]:
    """Reads the store that the service has open."""
    if place.kind == "sqlite":
        async with open_sqlite(place.path) as writer:
            yield functools.partial(credentials_sqlite.find_credential, writer)
    else:
        async with open_postgres(place.address) as database:
            yield functools.partial(credentials_postgres.find_credential, database)


@pytest.fixture
def credentials(read: Read, seconds: SettableSeconds) -> RememberedCredentials:
    return RememberedCredentials(read, monotonic=seconds)


@pytest.mark.parametrize("kind", CallerKind)
async def test_what_was_given_out_is_found(
    kind: CallerKind, elsewhere: Elsewhere, credentials: RememberedCredentials
) -> None:
    """A credential is found by its id as it was made, and no other id finds it."""
    given = a_credential(
        replace(AGENT, kind=kind, roles=("reader", "contributor")),
        create_time=NOON + timedelta(microseconds=7),
    )
    await elsewhere.add(given)
    for found_in in (credentials, MemoryCredentials(given)):
        assert await found_in.find(AGENT.credential_id) == given
        for other in ("f" * 16, "", AGENT.credential_id.upper(), AGENT.credential_id + " "):
            assert await found_in.find(other) is None


async def test_only_a_hash_of_the_secret_is_in_the_files(
    place: Place, elsewhere: Elsewhere, credentials: RememberedCredentials, request: pytest.FixtureRequest
) -> None:
    """The bytes of the store hold the secret's hash, and the secret nowhere (case 63)."""
    await elsewhere.add(a_credential())
    authorization = f"Bearer {credential_text(AGENT.credential_id, SECRET)}"
    assert await authenticate(authorization, credentials) == AGENT
    content = b"".join(file.read_bytes() for file in files_of(place, request))
    assert hash_secret(SECRET) in content
    assert SECRET.encode() not in content


def files_of(place: Place, request: pytest.FixtureRequest) -> list[Path]:
    if place.kind == "sqlite":
        return list(place.path.parent.iterdir())
    server: PostgresServer = request.getfixturevalue("postgres")
    return [*(server.data / "pg_wal").glob("0*"), server.folder / "log"]


async def test_a_revoked_credential_ends_within_a_second(
    elsewhere: Elsewhere, credentials: RememberedCredentials, seconds: SettableSeconds
) -> None:
    """What another process revokes is refused here as soon as the remembered second is over."""
    await elsewhere.add(a_credential())
    authorization = f"Bearer {credential_text(AGENT.credential_id, SECRET)}"
    assert await authenticate(authorization, credentials) == AGENT
    assert await elsewhere.revoke(AGENT.credential_id, NOON + timedelta(seconds=1))
    seconds.at += REMEMBERED_SECONDS * 0.99
    assert await authenticate(authorization, credentials) == AGENT
    seconds.at += REMEMBERED_SECONDS * 0.02
    with pytest.raises(InterlockError) as raised:
        await authenticate(authorization, credentials)
    assert raised.value.reason is ErrorReason.CREDENTIAL_INVALID


async def test_remembering_does_not_renew_itself(
    elsewhere: Elsewhere, credentials: RememberedCredentials, seconds: SettableSeconds
) -> None:
    """A credential in steady use is looked up again all the same."""
    await elsewhere.add(a_credential())
    await credentials.find(AGENT.credential_id)
    await elsewhere.revoke(AGENT.credential_id, NOON)
    for _ in range(4):
        seconds.at += REMEMBERED_SECONDS * 0.3
        found = await credentials.find(AGENT.credential_id)
    assert found == a_credential(revoke_time=NOON)


async def test_a_new_credential_is_good_at_once(
    elsewhere: Elsewhere, credentials: RememberedCredentials
) -> None:
    """That an id was unknown is not remembered."""
    assert await credentials.find(AGENT.credential_id) is None
    await elsewhere.add(a_credential())
    assert await credentials.find(AGENT.credential_id) == a_credential()


async def test_what_is_remembered_is_bounded(
    elsewhere: Elsewhere,
    credentials: RememberedCredentials,
    seconds: SettableSeconds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many credentials call, and however many ids are guessed, memory stays bounded."""
    monkeypatch.setattr(remembered_credentials, "MOST_REMEMBERED", 3)
    for number in range(8):
        await elsewhere.add(a_credential(replace(AGENT, credential_id=f"{number:016}")))
    for number in range(16):
        await credentials.find(f"{number:016}")
        assert len(credentials._remembered) <= 3


async def test_a_store_that_does_not_answer_lets_nobody_in(read: Read) -> None:
    """Where it cannot be known who calls, nobody does (invariant 1)."""
    writer = read.args[0]  # type: ignore[attr-defined] # a partial function of the fixture above
    await writer.close()
    with pytest.raises(InterlockError) as raised:
        await RememberedCredentials(read).find(AGENT.credential_id)
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE


async def test_a_revocation_stays_and_is_told_once(elsewhere: Elsewhere) -> None:
    """There is one credential to end once; it stays listed with the time of its end."""
    await elsewhere.add(a_credential())
    assert await elsewhere.revoke(AGENT.credential_id, NOON)
    assert not await elsewhere.revoke(AGENT.credential_id, NOON + timedelta(days=1))
    assert not await elsewhere.revoke("f" * 16, NOON)
    assert await elsewhere.list() == [a_credential(revoke_time=NOON)]


async def test_credentials_are_listed_oldest_first(elsewhere: Elsewhere) -> None:
    """The list has every credential, revoked or not, in the order in which they were given."""
    later = a_credential(
        replace(GATEWAY, credential_id="0" * 16, roles=()), create_time=NOON + timedelta(seconds=1)
    )
    for credential in (later, a_credential()):
        await elsewhere.add(credential)
    assert await elsewhere.list() == [a_credential(), later]


@pytest.mark.parametrize(
    "wrong", ["", "Acme", "acme ", "a/b", "a_b", "acm\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
@pytest.mark.parametrize("field", ["tenant", "name"])
async def test_a_name_that_could_be_taken_for_another_is_not_kept(
    elsewhere: Elsewhere, field: str, wrong: str
) -> None:
    """Tenants and names are [a-z0-9-] by the store's schema, and never empty (cases 54 and 55)."""
    changed: dict[str, Any] = {field: wrong}
    with pytest.raises(REFUSED):
        await elsewhere.add(a_credential(replace(AGENT, **changed)))
    assert await elsewhere.list() == []


async def test_an_id_is_given_once(elsewhere: Elsewhere) -> None:
    """A second credential of the same id is refused, and the first stays as it is."""
    await elsewhere.add(a_credential())
    with pytest.raises(REFUSED):
        await elsewhere.add(a_credential(replace(AGENT, tenant="other")))
    assert await elsewhere.list() == [a_credential()]
