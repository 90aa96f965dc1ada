"""Signing keys on a real disk."""

import base64
import json
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc.jwk import OKPKey

from interlock.adapters import signing_key
from interlock.adapters.keyed_digest import KeyedDigest
from interlock.adapters.signing_key import KeyState, SigningKeyError, TokenSigner, open_or_create
from interlock.adapters.verifying_keys import FixedVerifyingKeys
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.token import protected_header
from interlock.ports import TokenSigner as TokenSignerPort
from tests.fakes import SettableClock

BEGIN = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(BEGIN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "keys"


def data_for(kid: str) -> bytes:
    return protected_header(kid) + b".e30"


def sign(signer: TokenSignerPort) -> tuple[str, bytes]:
    kid = signer.kid
    return kid, signer.sign(data_for(kid))


def published(signer: TokenSigner) -> FixedVerifyingKeys:
    return FixedVerifyingKeys.from_jwks(json.dumps(signer.jwks()).encode())


def states(folder: Path, clock: SettableClock) -> list[KeyState]:
    return [key.state for key in signing_key.list_keys(folder, clock.now())]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Making and opening


def test_makes_a_key_that_only_its_owner_can_read(folder: Path, clock: SettableClock) -> None:
    """The first start makes a folder of mode 0700 and files of mode 0600, and signs at once."""
    kid, signature = sign(signer := open_or_create(folder, clock.now))
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == dict.fromkeys(
        [f"{kid}.pem", "keys.json", ".lock"], 0o600
    )
    assert published(signer).verify(kid, data_for(kid), signature) is True


def test_opens_the_key_that_is_there(folder: Path, clock: SettableClock) -> None:
    """A restart signs with the key of before."""
    first = sign(open_or_create(folder, clock.now))
    clock.move(timedelta(seconds=86_400))
    assert sign(open_or_create(folder, clock.now)) == first


def test_a_crash_before_the_key_is_named_makes_another(folder: Path, clock: SettableClock) -> None:
    """A key file that `keys.json` does not name, as a crash leaves it, is not used and not in the way."""
    folder.mkdir(mode=0o700, parents=True)
    (folder / ".keys.json.new").write_bytes(b"{")
    (folder / "orphan.pem").write_bytes(b"")
    kid = open_or_create(folder, clock.now).kid
    assert [key.kid for key in signing_key.list_keys(folder, clock.now())] == [kid]


def test_the_first_key_is_made_once(folder: Path, clock: SettableClock) -> None:
    """Many that start at once agree on one key."""
    with ThreadPoolExecutor(8) as pool:
        kids = list(pool.map(lambda _: open_or_create(folder, clock.now).kid, range(16)))
    assert len(set(kids)) == 1
    assert len(list(folder.glob("*.pem"))) == 1


def test_the_name_of_a_key_is_its_thumbprint(folder: Path, clock: SettableClock) -> None:
    """`kid` begins the RFC 7638 thumbprint that a stock library computes, and has the characters of a name."""
    signer = open_or_create(folder, clock.now)
    (jwk,) = signer.jwks()["keys"]
    members = {"crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"]}
    thumbprint = OKPKey.import_key(members).thumbprint()
    assert bytes.fromhex(signer.kid) == base64.urlsafe_b64decode(thumbprint + "=")[:16]
    assert re.fullmatch(r"[a-z0-9-]{1,64}", signer.kid)


@pytest.mark.parametrize("open_to", [0o040, 0o004, 0o020, 0o001, 0o077])
def test_refuses_a_folder_that_others_may_enter(folder: Path, clock: SettableClock, open_to: int) -> None:
    """A folder open to group or others is refused, and the error says which mode to give it."""
    open_or_create(folder, clock.now)
    folder.chmod(0o700 | open_to)
    with pytest.raises(SigningKeyError, match=r"folder .* is open to others: expected mode 0700"):
        open_or_create(folder, clock.now)


@pytest.mark.parametrize("pattern", ["*.pem", "keys.json"])
@pytest.mark.parametrize("open_to", [0o040, 0o004, 0o020, 0o002])
def test_refuses_a_file_that_others_may_read(
    folder: Path, clock: SettableClock, pattern: str, open_to: int
) -> None:
    """A key open to group or others is refused, and the error says which mode to give it."""
    open_or_create(folder, clock.now)
    (file,) = folder.glob(pattern)
    file.chmod(0o600 | open_to)
    with pytest.raises(SigningKeyError, match=r"file .* is open to others: expected mode 0600"):
        open_or_create(folder, clock.now)


def test_refuses_a_link_in_the_place_of_a_key(folder: Path, clock: SettableClock) -> None:
    """A symbolic link is never followed out of the folder."""
    kid = open_or_create(folder, clock.now).kid
    (folder / f"{kid}.pem").rename(folder.parent / "elsewhere.pem")
    (folder / f"{kid}.pem").symlink_to(folder.parent / "elsewhere.pem")
    with pytest.raises(SigningKeyError, match="cannot be opened"):
        open_or_create(folder, clock.now)


def test_refuses_what_is_no_folder(tmp_path: Path, clock: SettableClock) -> None:
    """A file in the folder's place is an error that names it."""
    (tmp_path / "keys").write_bytes(b"")
    with pytest.raises(SigningKeyError, match="cannot be used"):
        open_or_create(tmp_path / "keys", clock.now)


def pem(private: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is corrupt"),
        (b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "is corrupt"),
        (pem(Ed25519PrivateKey.generate()), "holds another key"),
        (pem(X25519PrivateKey.generate()), "holds another key"),
    ],
    ids=["empty", "garbage", "another key", "another kind"],
)
def test_refuses_a_corrupt_key(folder: Path, clock: SettableClock, data: bytes, problem: str) -> None:
    """A key file that is not the key of its name is refused, and none of its bytes is told (case 63)."""
    kid = open_or_create(folder, clock.now).kid
    (folder / f"{kid}.pem").write_bytes(data)
    with pytest.raises(SigningKeyError, match=problem) as caught:
        open_or_create(folder, clock.now)
    assert "secret" not in str(caught.value)


def test_refuses_a_missing_key(folder: Path, clock: SettableClock) -> None:
    """A key that is named and not there is an error, and no new one is made in its place."""
    kid = open_or_create(folder, clock.now).kid
    (folder / f"{kid}.pem").unlink()
    with pytest.raises(SigningKeyError, match="is missing"):
        open_or_create(folder, clock.now)
    assert list(folder.glob("*.pem")) == []


def test_refuses_a_corrupt_index(folder: Path, clock: SettableClock) -> None:
    """`keys.json` is taken as it was written or not at all."""
    open_or_create(folder, clock.now)
    good = json.loads((folder / "keys.json").read_text())
    (entry,) = good["keys"]
    for bad in (
        "",
        "{",
        "[]",
        "{}",
        json.dumps(good | {"keys": []}),
        json.dumps(good | {"version": 2}),
        json.dumps(good | {"keys": [entry, entry]}),
        json.dumps(good | {"keys": [entry | {"kid": "../../key"}]}),
        json.dumps(good | {"keys": [entry | {"not_before": "2026-03-01T12:00:00"}]}),
        json.dumps(good | {"keys": [entry | {"retired": entry["created"]}]}),
        json.dumps(good | {"keys": [entry | {"note": ""}]}),
    ):
        (folder / "keys.json").write_text(bad)
        with pytest.raises(SigningKeyError, match="is corrupt"):
            open_or_create(folder, clock.now)


def test_refuses_when_no_key_has_begun(folder: Path, clock: SettableClock) -> None:
    """With a clock before the first key there is nothing to sign with, and the start says so."""
    open_or_create(folder, clock.now)
    clock.move(timedelta(seconds=-1))
    with pytest.raises(SigningKeyError, match=r"no key .* has begun to sign; check the clock"):
        open_or_create(folder, clock.now)


# Signing


def test_signs_nothing_but_execution_tokens_of_its_keys(folder: Path, clock: SettableClock) -> None:
    """The key of the tokens puts its name under nothing else (RFC 8725 3.12, case 38)."""
    signer = open_or_create(folder, clock.now)
    for data in (b"", b"anything", protected_header("key-1") + b".e30", protected_header(signer.kid)):
        with pytest.raises(InterlockError) as caught:
            signer.sign(data)
        assert caught.value.reason is ErrorReason.INTERNAL


def test_a_clock_that_jumps_before_the_first_key_stops_signing(folder: Path, clock: SettableClock) -> None:
    """The window is checked at the time of signing, also against a clock that jumps back (cases 22, 40)."""
    signer = open_or_create(folder, clock.now)
    kid = signer.kid
    clock.move(timedelta(seconds=-300))
    with pytest.raises(InterlockError):
        _ = signer.kid
    with pytest.raises(InterlockError):
        signer.sign(data_for(kid))


def test_no_private_key_shows_in_a_repr(folder: Path, clock: SettableClock) -> None:
    """Keys can be logged by accident without harm (case 63)."""
    signer = open_or_create(folder, clock.now)
    text = (folder / f"{signer.kid}.pem").read_text().splitlines()[1]
    assert text not in repr(signer)
    assert "Ed25519PrivateKey" not in repr(signer.__dict__)


# Rotation


def test_a_rotation_publishes_before_it_signs(folder: Path, clock: SettableClock) -> None:
    """The next key is published at once, signs after the lead, and the old one stays until its tokens are over."""
    signer = open_or_create(folder, clock.now)
    old = signer.kid
    made = signing_key.rotate(folder, clock.now())
    assert (made.state, made.not_before) == (KeyState.NEXT, BEGIN + timedelta(seconds=300))
    story = [
        (1, old, [KeyState.SIGNING, KeyState.NEXT], {old, made.kid}),
        (298.9, old, [KeyState.SIGNING, KeyState.NEXT], {old, made.kid}),
        (0.1, made.kid, [KeyState.PUBLISHED, KeyState.SIGNING], {old, made.kid}),
        (359.9, made.kid, [KeyState.PUBLISHED, KeyState.SIGNING], {old, made.kid}),
        (0.1, made.kid, [KeyState.RETIRED, KeyState.SIGNING], {made.kid}),
    ]
    for seconds, signs, expected, in_jwks in story:
        clock.move(timedelta(seconds=seconds))
        assert sign(signer)[0] == signs
        assert states(folder, clock) == expected
        assert {key["kid"] for key in signer.jwks()["keys"]} == in_jwks
        assert signing_key.jwks(folder, clock.now()) == signer.jwks()


def test_a_token_begun_before_the_handover_can_be_finished(folder: Path, clock: SettableClock) -> None:
    """Header and signature agree across a rotation; a moment later the old key signs no more (case 40)."""
    signer = open_or_create(folder, clock.now)
    old = signer.kid
    signing_key.rotate(folder, clock.now(), lead_seconds=10)
    clock.move(timedelta(seconds=9.9))
    assert signer.kid == old
    clock.move(timedelta(seconds=0.2))
    assert published(signer).verify(old, data_for(old), signer.sign(data_for(old))) is True
    assert signer.kid != old
    clock.move(timedelta(seconds=1))
    with pytest.raises(InterlockError, match="signs now"):
        signer.sign(data_for(old))


def test_the_next_key_does_not_sign_before_its_time(folder: Path, clock: SettableClock) -> None:
    """A key that is published but has not begun signs nothing (case 40)."""
    signer = open_or_create(folder, clock.now)
    made = signing_key.rotate(folder, clock.now())
    clock.move(timedelta(seconds=2))
    with pytest.raises(InterlockError, match="signs now"):
        signer.sign(data_for(made.kid))


ROTATE = """
import sys, pathlib, datetime
from interlock.adapters import signing_key
signing_key.rotate(pathlib.Path(sys.argv[1]), datetime.datetime.fromisoformat(sys.argv[2]), lead_seconds=0)
"""


def test_notices_a_rotation_by_another_process(folder: Path, clock: SettableClock) -> None:
    """A running signer takes up what another process rotated, within a second of its clock."""
    signer = open_or_create(folder, clock.now)
    old = signer.kid
    subprocess.run([sys.executable, "-c", ROTATE, folder, BEGIN.isoformat()], check=True)
    assert signer.kid == old
    clock.move(timedelta(seconds=1))
    assert signer.kid == signing_key.list_keys(folder, clock.now())[-1].kid != old


def test_a_rotation_without_lead_signs_at_once(folder: Path, clock: SettableClock) -> None:
    """For an emergency, the new key signs now and one that waited is dropped, file and all."""
    old = open_or_create(folder, clock.now).kid
    waiting = signing_key.rotate(folder, clock.now())
    made = signing_key.rotate(folder, clock.now(), lead_seconds=0)
    assert states(folder, clock) == [KeyState.PUBLISHED, KeyState.SIGNING]
    assert open_or_create(folder, clock.now).kid == made.kid
    assert {path.stem for path in folder.glob("*.pem")} == {old, made.kid}
    assert waiting.kid not in (old, made.kid)


def test_refuses_a_second_rotation_while_a_key_waits(folder: Path, clock: SettableClock) -> None:
    """One rotation at a time: the error names the key that waits."""
    open_or_create(folder, clock.now)
    waiting = signing_key.rotate(folder, clock.now())
    with pytest.raises(SigningKeyError, match=f"`{waiting.kid}` waits already"):
        signing_key.rotate(folder, clock.now())


def test_refuses_a_rotation_that_cannot_be(folder: Path, clock: SettableClock) -> None:
    """No keys, a clock before all keys, and a lead below zero are errors, and change nothing."""
    with pytest.raises(SigningKeyError, match="cannot be used"):
        signing_key.rotate(folder, BEGIN)
    folder.mkdir(mode=0o700, parents=True)
    with pytest.raises(SigningKeyError, match="holds no keys"):
        signing_key.rotate(folder, BEGIN)
    open_or_create(folder, clock.now)
    before = (folder / "keys.json").read_bytes()
    with pytest.raises(ValueError, match="lead of 0 seconds or more"):
        signing_key.rotate(folder, BEGIN, lead_seconds=-1)
    with pytest.raises(SigningKeyError, match="waits already"):
        signing_key.rotate(folder, BEGIN - timedelta(days=1), lead_seconds=0)
    assert (folder / "keys.json").read_bytes() == before


def test_many_rotations_leave_one_key_signing(folder: Path, clock: SettableClock) -> None:
    """After any number of rotations exactly one key signs, and a retired key's file may be taken away."""
    signer = open_or_create(folder, clock.now)
    first = signer.kid
    for _ in range(5):
        clock.move(timedelta(seconds=200))
        signing_key.rotate(folder, clock.now(), lead_seconds=0)
    assert states(folder, clock) == [KeyState.RETIRED] * 3 + [KeyState.PUBLISHED] * 2 + [KeyState.SIGNING]
    (folder / f"{first}.pem").unlink()
    assert open_or_create(folder, clock.now).kid == signer.kid != first


def test_signs_nothing_once_its_keys_cannot_be_trusted(folder: Path, clock: SettableClock) -> None:
    """A running signer whose keys were opened to others or broken fails closed, and recovers (invariant 1)."""
    signer = open_or_create(folder, clock.now)
    kid = signer.kid
    index = folder / "keys.json"
    good = index.read_bytes()
    for spoil in (lambda: index.chmod(0o644), lambda: index.write_bytes(b"{"), index.unlink):
        spoil()
        clock.move(timedelta(seconds=1))
        with pytest.raises(InterlockError, match="no token can be signed"):
            signer.sign(data_for(kid))
        index.write_bytes(good)
        index.chmod(0o600)
        clock.move(timedelta(seconds=1))
        assert signer.sign(data_for(kid))


def test_a_failed_reload_is_not_forgotten(folder: Path, clock: SettableClock) -> None:
    """Keys that were refused stay refused at the next signature, not only at the first."""
    signer = open_or_create(folder, clock.now)
    kid = signer.kid
    (folder / "keys.json").write_bytes(b"{")
    clock.move(timedelta(seconds=1))
    for _ in range(3):
        with pytest.raises(InterlockError):
            signer.sign(data_for(kid))


# Public keys


def test_the_jwks_holds_public_keys_only(folder: Path, clock: SettableClock) -> None:
    """What is published has exactly the public members of RFC 8037 and names algorithm and use."""
    (key,) = open_or_create(folder, clock.now).jwks()["keys"]
    assert key | {"x": "", "kid": ""} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "",
        "kid": "",
        "alg": "EdDSA",
        "use": "sig",
    }


# Secrets


def test_a_secret_is_made_once_and_kept(folder: Path) -> None:
    """A secret has 32 bytes, its own file of mode 0600, and is the same ever after."""
    secret = signing_key.secret_key(folder, "redaction")
    assert len(secret) == 32
    assert mode(folder / "redaction.key") == 0o600
    assert signing_key.secret_key(folder, "redaction") == secret
    assert signing_key.secret_key(folder, "page-tokens") != secret


def test_refuses_a_secret_that_cannot_be_trusted(folder: Path) -> None:
    """A secret that is open to others, cut or named after a path is refused."""
    signing_key.secret_key(folder, "redaction")
    (folder / "redaction.key").chmod(0o640)
    with pytest.raises(SigningKeyError, match="open to others"):
        signing_key.secret_key(folder, "redaction")
    (folder / "redaction.key").chmod(0o600)
    (folder / "redaction.key").write_bytes(b"short")
    with pytest.raises(SigningKeyError, match="expected 32 bytes, got 5"):
        signing_key.secret_key(folder, "redaction")
    with pytest.raises(ValueError, match="name"):
        signing_key.secret_key(folder, "../redaction")


def test_a_keyed_digest_tells_equality_and_nothing_else() -> None:
    """Equal values have equal digests; another value, key or label gives another (case 63)."""
    digest = KeyedDigest(bytes(32), "redaction")
    assert digest(b'"s3cret"') == "hmac-sha256:WUDZwpOrh8jzIhr3R0hFw_u9KMCxfHWIHV7TQi68UYU"
    assert digest(b'"s3cret"') == KeyedDigest(bytes(32), "redaction")(b'"s3cret"')
    others = {
        digest(b'"s3cres"'),
        KeyedDigest(bytes(31) + b"\1", "redaction")(b'"s3cret"'),
        KeyedDigest(bytes(32), "page-tokens")(b'"s3cret"'),
    }
    assert len(others | {digest(b'"s3cret"')}) == 4
    assert b"\0" * 32 not in repr(digest).encode()


@pytest.mark.parametrize(("key", "label"), [(b"", "x"), (bytes(31), "x"), (bytes(32), "")])
def test_a_keyed_digest_needs_a_key_and_a_label(key: bytes, label: str) -> None:
    """A short key or an empty label is refused instead of a weak digest made."""
    with pytest.raises(ValueError, match="expected"):
        KeyedDigest(key, label)
