"""The execution token's verifier, a test or more for each of its rules."""

import base64
import hashlib
import hmac
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joserfc.jws
import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from interlock.core import token
from interlock.core.canonical import canonicalize
from interlock.core.decision import Obligation
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.token import Claims, ExpectedBy, verify

WYCHEPROOF = Path(__file__).parents[2] / "data" / "wycheproof"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BEGIN = int(NOW.timestamp())
KID = "key-1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
EXPECTED = ExpectedBy(
    audience="gateway-1",
    tenant="acme",
    environment="prod",
    issuer="https://interlock.example",
    leeway=timedelta(seconds=5),
)
HEADER = {"alg": "EdDSA", "kid": KID, "typ": "exec+jwt"}
PAYLOAD: dict[str, Any] = {
    "iss": "https://interlock.example",
    "aud": "gateway-1",
    "sub": "agent-7",
    "act": {"sub": "agent-7"},
    "tenant": "acme",
    "iat": BEGIN,
    "nbf": BEGIN,
    "exp": BEGIN + 30,
    "jti": "token-1",
    "txn": "session-1",
    "decision_id": "decision-1",
    "log_index": 41,
    "policy_rev": "revision-1",
    "tool": "git/git_status",
    "catalog_digest": "c" * 43,
    "args_digest": "a" * 43,
    "obligations": [{"type": "timeout", "seconds": 5}],
    "env": "prod",
}


class OneKey:
    """`VerifyingKeys` of one key, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def verify(self, kid: str, signing_input: bytes, signature: bytes) -> bool | None:
        self.asked += 1
        if kid != KID:
            return None
        try:
            PRIVATE.public_key().verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_bytes(part: dict[str, Any] | bytes) -> bytes:
    return part if isinstance(part, bytes) else canonicalize(part)


def forge(header: dict[str, Any] | bytes = HEADER, payload: dict[str, Any] | bytes = PAYLOAD) -> str:
    """A token with a good signature over whatever header and payload."""
    signed = f"{b64(as_bytes(header))}.{b64(as_bytes(payload))}"
    return f"{signed}.{b64(PRIVATE.sign(signed.encode()))}"


def check(text: str, *, at: datetime = NOW, expected: ExpectedBy = EXPECTED) -> Claims:
    return verify(text, OneKey(), expected, reference_time=at)


def refusal(text: str, *, at: datetime = NOW) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        check(text, at=at)
    return caught.value


def test_accepts_a_good_token() -> None:
    """A token that keeps every rule gives exactly the claims that were signed."""
    assert check(forge()).model_dump(mode="json", exclude_none=True) == PAYLOAD


def test_accepts_the_approval_and_its_files() -> None:
    """A token that came of an approval names it, and binds the files that people approved (case 51)."""
    payload = {**PAYLOAD, "approval_id": "approval-1", "files": "f" * 43}
    claims = check(forge(payload=payload))
    assert (claims.approval_id, claims.files) == ("approval-1", "f" * 43)


@pytest.mark.parametrize(
    "claim",
    [
        {"approval_id": ""},
        {"approval_id": "Approval 1"},
        {"approval_id": ["approval-1"]},
        {"files": ""},
        {"files": "f" * 42},
        {"files": {"/srv/script": "f" * 64}},
        {"approval": "approval-1"},
    ],
    ids=str,
)
def test_refuses_an_approval_that_is_not_one(claim: dict[str, Any]) -> None:
    """What stands in the place of an approval or of its files is exact, or the token is malformed (cases 37, 38)."""
    assert refusal(forge(payload={**PAYLOAD, **claim})).reason is ErrorReason.TOKEN_MALFORMED


# 1. Size and shape


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a.b", "a.b.c.d", ".e30.AA", "e30..AA", "e30.e30.", "\u00e9.e30.AA", "\ud800"],
)
def test_refuses_what_is_not_three_parts(text: str) -> None:
    """Three parts of ASCII that are not empty, or it is no token (RFC 7515 7.1)."""
    assert refusal(text).reason is ErrorReason.TOKEN_MALFORMED


def test_refuses_more_than_8_kib_before_anything_else() -> None:
    """A token of 8,192 bytes is read, one of a byte more is refused before its key is looked up (case 35)."""
    keys, text = OneKey(), forge()
    for length, asked in ((token.MAX_TOKEN_BYTES, 1), (token.MAX_TOKEN_BYTES + 1, 1), (10**6, 1)):
        with pytest.raises(InterlockError):
            verify(text.ljust(length, "A"), keys, EXPECTED, reference_time=NOW)
        assert keys.asked == asked


def padded(text: str) -> str:
    return text + "=" * (-len(text.rpartition(".")[2]) % 4)


def in_standard_alphabet(text: str) -> str:
    return text.replace("-", "+").replace("_", "/")


def with_spare_bits(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


@pytest.mark.parametrize(
    "change",
    [
        padded,
        in_standard_alphabet,
        with_spare_bits,
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace(".", ". ", 1),
        lambda text: text[:20] + "\n" + text[20:],
        lambda text: text + "AAA",
        lambda text: text + "\0",
    ],
    ids=["padding", "alphabet", "spare bits", "newline", "space", "inner space", "folded", "length", "nul"],
)
def test_refuses_every_other_spelling(change: Callable[[str], str]) -> None:
    """A token has one spelling: no padding, other alphabet, spare bits or whitespace (case 36)."""
    text = next(
        text for jti in map(str, range(99)) if set("-_") & set(text := forge(payload=PAYLOAD | {"jti": jti}))
    )
    assert check(text)
    assert change(text) != text
    assert refusal(change(text)).reason is ErrorReason.TOKEN_MALFORMED


# 2. Header


def test_refuses_the_algorithm_none() -> None:
    """`alg` none, with or without a signature, is refused (RFC 8725 3.1, case 34)."""
    header = {"alg": "none", "kid": KID, "typ": "exec+jwt"}
    assert refusal(forge(header)).reason is ErrorReason.TOKEN_MALFORMED
    assert refusal(forge(header).rpartition(".")[0] + ".").reason is ErrorReason.TOKEN_MALFORMED


@pytest.mark.parametrize("secret", [PUBLIC_PEM, PRIVATE.public_key().public_bytes_raw()])
def test_refuses_an_hmac_keyed_with_the_public_key(secret: bytes) -> None:
    """HS256 with the public key as the secret is refused: the algorithm is fixed (RFC 8725 3.1, case 34)."""
    signed = f"{b64(canonicalize(HEADER | {'alg': 'HS256'}))}.{b64(canonicalize(PAYLOAD))}"
    mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
    assert refusal(f"{signed}.{b64(mac)}").reason is ErrorReason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"], "exp": BEGIN + 30},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"jku": "https://attacker.example/jwks.json"},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(32))}},
        {"x5u": "https://attacker.example/certificate.pem"},
        {"x5c": ["AAAA"]},
        {"cty": "JWT"},
        {"ALG": "none"},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_refuses_every_other_header(extra: dict[str, Any]) -> None:
    """No header but alg, kid and typ is taken, nor repeated in the error (RFC 8725 3.10; cases 34, 35)."""
    error = refusal(forge(HEADER | extra))
    assert error.reason is ErrorReason.TOKEN_MALFORMED
    assert "attacker" not in str(error)


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
@pytest.mark.parametrize("value", [None, 1, ["EdDSA"], ""])
def test_refuses_a_header_of_another_type(name: str, value: object) -> None:
    """Each of the three headers is there, and a string of its form."""
    assert refusal(forge(HEADER | {name: value})).reason is ErrorReason.TOKEN_MALFORMED
    without = {key: other for key, other in HEADER.items() if key != name}
    assert refusal(forge(without)).reason is ErrorReason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "kid",
    [
        "../../../dev/null",
        "key-1' OR '1'='1",
        "https://attacker.example/key",
        "KEY-1",
        "key-1\n",
        "key-1\0",
        "k" * 65,
        "k" * 1_000_000,
    ],
    ids=["traversal", "sql", "url", "upper case", "newline", "nul", "65", "1 MB"],
)
def test_refuses_a_kid_that_is_no_name(kid: str) -> None:
    """A `kid` is a short name for a look-up in a fixed map, and is refused before it (case 35)."""
    keys = OneKey()
    with pytest.raises(InterlockError) as caught:
        verify(forge(HEADER | {"kid": kid}), keys, EXPECTED, reference_time=NOW)
    assert caught.value.reason is ErrorReason.TOKEN_MALFORMED
    assert keys.asked == 0


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "approval+jwt", "EXEC+JWT", "application/exec+jwt"])
def test_refuses_another_type_of_token(typ: str) -> None:
    """A good signature on another type of token permits nothing (RFC 8725 3.11, case 38)."""
    error = refusal(forge(HEADER | {"typ": typ}))
    assert (error.reason, "`typ`" in error.message) == (ErrorReason.TOKEN_MALFORMED, True)


# 3. Signature


def test_refuses_an_unknown_key() -> None:
    """A token of a key that is not in the map is refused by a reason of its own."""
    assert refusal(forge(HEADER | {"kid": "key-2"})).reason is ErrorReason.TOKEN_KEY_UNKNOWN


def test_refuses_another_keys_signature_before_it_reads_a_claim() -> None:
    """The signature is checked before the claims: a forged token learns nothing of them (RFC 8725 3.3)."""
    signed = f"{b64(canonicalize(HEADER))}.{b64(b'not even JSON')}"
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).sign(signed.encode())
    assert refusal(f"{signed}.{b64(other)}").reason is ErrorReason.TOKEN_SIGNATURE_INVALID


@pytest.mark.parametrize("length", [1, 63, 65, 128])
def test_refuses_a_signature_of_another_length(length: int) -> None:
    """An Ed25519 signature has 64 bytes (RFC 8032 5.1.6)."""
    text = forge().rpartition(".")[0] + "." + b64(bytes(length))
    assert refusal(text).reason is ErrorReason.TOKEN_SIGNATURE_INVALID


@given(position=st.integers(0, len(forge()) - 1), bit=st.integers(0, 7))
@example(position=len(forge()) - 1, bit=0)
def test_refuses_every_flip_of_a_bit(position: int, bit: int) -> None:
    """A token with any one bit flipped is refused, as malformed or by its key or signature."""
    data = bytearray(forge().encode())
    data[position] ^= 1 << bit
    assert refusal(data.decode("latin-1")).reason in {
        ErrorReason.TOKEN_MALFORMED,
        ErrorReason.TOKEN_SIGNATURE_INVALID,
        ErrorReason.TOKEN_KEY_UNKNOWN,
    }


def test_refuses_every_flip_of_a_bit_of_the_decoded_parts() -> None:
    """A flip of any bit of the decoded payload or signature is refused by the signature."""
    header, payload, signature = forge().split(".")
    for part, rebuild in ((payload, f"{header}.%s.{signature}"), (signature, f"{header}.{payload}.%s")):
        data = base64.urlsafe_b64decode(part + "==")
        for index in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[index // 8] ^= 1 << index % 8
            assert refusal(rebuild % b64(bytes(flipped))).reason is ErrorReason.TOKEN_SIGNATURE_INVALID


@pytest.mark.parametrize("line", (WYCHEPROOF / "json_web_signature_test.jsonl").read_text().splitlines())
def test_refuses_every_jws_of_wycheproof(line: str) -> None:
    """None of Wycheproof's JSON Web Signatures, good ones of other algorithms included, is an execution token."""
    assert refusal(json.loads(line)["jws"]).reason is ErrorReason.TOKEN_MALFORMED


# 4. Claims


@pytest.mark.parametrize("name", PAYLOAD)
def test_refuses_a_missing_claim(name: str) -> None:
    """Every claim is there; the error names the one that is not."""
    error = refusal(forge(payload={key: value for key, value in PAYLOAD.items() if key != name}))
    assert (error.reason, f"`{name}`" in error.message) == (ErrorReason.TOKEN_MALFORMED, True)


def test_refuses_an_unknown_claim() -> None:
    """A claim that this version does not know may restrict the token, so it is refused."""
    error = refusal(forge(payload=PAYLOAD | {"once_only_if": "secret-condition"}))
    assert error.reason is ErrorReason.TOKEN_MALFORMED
    assert "secret-condition" not in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", str(BEGIN + 30)),
        ("exp", BEGIN + 30.5),
        ("exp", True),
        ("exp", None),
        ("exp", -1),
        ("iat", "0"),
        ("nbf", False),
        ("log_index", "41"),
        ("log_index", -1),
        ("aud", ["gateway-1"]),
        ("aud", ["gateway-1", "gateway-2"]),
        ("aud", ""),
        ("aud", "gateway-1\n"),
        ("sub", 7),
        ("act", "agent-7"),
        ("act", {"sub": "agent-7", "act": {"sub": "agent-8"}}),
        ("jti", ""),
        ("jti", "TOKEN-1"),
        ("jti", "j" * 65),
        ("args_digest", "a" * 42),
        ("args_digest", "a" * 44),
        ("catalog_digest", "c" * 42 + "="),
        ("obligations", {}),
        ("obligations", "[]"),
        ("obligations", [{"seconds": 5}]),
        ("obligations", ["timeout"]),
        ("tool", ""),
        ("env", None),
    ],
)
def test_refuses_a_claim_of_another_type(name: str, value: object) -> None:
    """Each claim has exactly its type and form: no string, fraction or bool for a number, one audience (case 37)."""
    error = refusal(forge(payload=PAYLOAD | {name: value}))
    assert (error.reason, f"`{name}`" in error.message) == (ErrorReason.TOKEN_MALFORMED, True)


@pytest.mark.parametrize("spelling", [f"{BEGIN + 30}.0", f"{BEGIN + 30}e0", f"{(BEGIN + 30) / 10**9}e9"])
def test_refuses_a_number_that_is_not_written_as_an_integer(spelling: str) -> None:
    """`exp` as a float of the same value is refused: a token is in canonical form (RFC 8785, case 37)."""
    payload = canonicalize(PAYLOAD).replace(str(BEGIN + 30).encode(), spelling.encode())
    assert refusal(forge(payload=payload)).reason is ErrorReason.TOKEN_MALFORMED


@pytest.mark.parametrize("repeated", [b'{"aud":"gateway-2",', b'{"AUD":"gateway-2",', b'{"aud":"gateway-1",'])
def test_refuses_a_claim_that_is_there_twice(repeated: bytes) -> None:
    """A duplicate `aud`, exactly or in another case, is refused instead of the last one taken (case 37)."""
    payload = repeated + canonicalize(PAYLOAD)[1:]
    assert refusal(forge(payload=payload)).reason is ErrorReason.TOKEN_MALFORMED


def test_refuses_a_header_that_is_there_twice() -> None:
    """A duplicate `alg` is refused instead of the last one taken (RFC 7515 5.2 step 4)."""
    header = b'{"alg":"none",' + canonicalize(HEADER)[1:]
    assert refusal(forge(header)).reason is ErrorReason.TOKEN_MALFORMED


@pytest.mark.parametrize("payload", [b"", b"[]", b'"x"', b"null", b"{}", b"{", b"{}{}", b"\xff", b"[" * 5000])
def test_refuses_a_payload_that_is_no_object(payload: bytes) -> None:
    """A signed payload that is not one JSON object is refused, and never crashes the verifier."""
    assert refusal(forge(payload=payload)).reason is ErrorReason.TOKEN_MALFORMED


# 5. Place


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aud", "gateway-2"),
        ("tenant", "globex"),
        ("env", "dev"),
        ("iss", "https://interlock.example/"),
        ("iss", "https://other.example"),
    ],
)
def test_refuses_a_token_for_another_place(name: str, value: str) -> None:
    """A token of another gateway, tenant, environment or issuer permits nothing here (RFC 8725 3.8, 3.9; case 38)."""
    error = refusal(forge(payload=PAYLOAD | {name: value}))
    assert error.reason is ErrorReason.TOKEN_NOT_FOR_THIS_GATEWAY
    assert f"`{name}`" in error.message
    assert value not in error.message.replace(EXPECTED.issuer, "")


# 6. Time


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (-5.001, ErrorReason.TOKEN_NOT_YET_VALID),
        (-5, None),
        (0, None),
        (30, None),
        (34.999, None),
        (35, ErrorReason.TOKEN_EXPIRED),
        (300, ErrorReason.TOKEN_EXPIRED),
        (-300, ErrorReason.TOKEN_NOT_YET_VALID),
    ],
)
def test_holds_for_its_life_and_the_leeway(seconds: float, reason: ErrorReason | None) -> None:
    """A token holds from nbf less the leeway until before exp plus the leeway (RFC 7519 4.1.4, 4.1.5; case 22)."""
    at = NOW + timedelta(seconds=seconds)
    if reason is None:
        assert check(forge(), at=at)
    else:
        assert refusal(forge(), at=at).reason is reason


@pytest.mark.parametrize(
    "times",
    [
        {"exp": BEGIN + 61},
        {"exp": BEGIN + 86_400},
        {"exp": BEGIN},
        {"exp": BEGIN - 1},
        {"nbf": BEGIN - 1},
        {"nbf": BEGIN + 30},
        {"iat": BEGIN - 31},
        {"iat": BEGIN + 1},
        {"exp": 2**53 - 1},
    ],
)
def test_refuses_times_out_of_order_or_a_long_life(times: dict[str, int]) -> None:
    """Times are iat ≤ nbf < exp, and the life is at most 60 seconds, whoever signed it."""
    assert refusal(forge(payload=PAYLOAD | times)).reason is ErrorReason.TOKEN_MALFORMED


def test_accepts_a_life_of_60_seconds() -> None:
    """The longest life is 60 seconds."""
    assert check(forge(payload=PAYLOAD | {"exp": BEGIN + 60}))


# Writing


identifiers = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
digests = st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128)
obligations = st.builds(
    lambda kind, seconds: Obligation.model_validate({"type": kind, "seconds": seconds}),
    st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True),
    st.integers(0, 2**53 - 1),
)


@given(
    identifier=identifiers,
    digest=digests,
    text=texts,
    index=st.integers(0, 2**53 - 1),
    duties=st.lists(obligations, max_size=8),
)
def test_claims_come_back_as_they_were_signed(
    identifier: str, digest: str, text: str, index: int, duties: list[Obligation]
) -> None:
    """What is signed is what is verified, for all claims that a token may have."""
    changes = {"jti": identifier, "txn": identifier, "args_digest": digest, "tool": text, "policy_rev": text}
    claims = Claims.model_validate(PAYLOAD | changes | {"log_index": index, "obligations": duties})
    signed = token.signing_input(claims.model_dump(mode="json"), KID)
    assert check(token.compact(signed, PRIVATE.sign(signed))) == claims


# RFC 9864 would have the algorithm called Ed25519, which the libraries do not all know yet.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_is_accepted_by_stock_jwt_libraries() -> None:
    """PyJWT and joserfc verify a token of ours, and read the claims that we signed (RFC 8037)."""
    signed = token.signing_input(PAYLOAD, KID)
    text = token.compact(signed, PRIVATE.sign(signed))
    by_pyjwt = jwt.decode(
        text, PRIVATE.public_key(), algorithms=["EdDSA"], audience="gateway-1", options={"verify_exp": False}
    )
    by_joserfc = joserfc.jws.deserialize_compact(text, OKPKey.import_key(PUBLIC_PEM), algorithms=["EdDSA"])
    assert by_pyjwt == PAYLOAD
    assert json.loads(by_joserfc.payload) == PAYLOAD


def test_every_token_of_a_key_begins_with_its_header() -> None:
    """`protected_header` is the first part of what is signed, so that a signer can know its own tokens."""
    signed = token.signing_input(PAYLOAD, KID)
    assert signed.startswith(token.protected_header(KID) + b".")


def test_expire_time_is_exp() -> None:
    """The token ends at its `exp`, in UTC."""
    assert token.expire_time(Claims.model_validate(PAYLOAD)) == NOW + timedelta(seconds=30)


# Looking without verifying


def test_inspect_shows_header_and_payload() -> None:
    """A person can look into a token that is not verified, such as one of another service."""
    assert token.inspect(forge({"alg": "none", "x": 1}, {"anything": 2})) == (
        {"alg": "none", "x": 1},
        {"anything": 2},
    )


def test_key_id_reads_only_a_good_header() -> None:
    """The name of the key is given for a well-formed header only, so that no other name is ever looked up (case 35)."""
    assert token.key_id(forge(payload={})) == KID
    for header in (HEADER | {"kid": "../x"}, HEADER | {"jku": "https://attacker.example"}, {"kid": KID}):
        with pytest.raises(InterlockError) as caught:
            token.key_id(forge(header))
        assert caught.value.reason is ErrorReason.TOKEN_MALFORMED


def test_errors_never_hold_what_the_token_said() -> None:
    """Neither a refusal nor what caused it repeats a claim, for both end in logs (case 63)."""
    for payload in (
        PAYLOAD | {"tenant": "Secret Tenant"},
        {"secret-name": 1},
        b'{"secret-name":1,"secret-name":2}',
    ):
        error = refusal(forge(payload=payload))
        assert "ecret" not in "".join(traceback.format_exception(error))
