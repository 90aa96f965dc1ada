"""Credentials are found in text, whatever stands round them, and usual text is left alone."""

from collections.abc import Iterator

import pytest

from interlock.core.identity import credential_text
from interlock.core.secret_patterns import find_secrets, names_secret

SECRETS = {
    "interlock": credential_text("0123456789abcdef", "Kx-_" * 10 + "abc"),
    "aws key id": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_" + "aB3" * 12,
    "github fine-grained": "github_pat_" + "11ABCDEFG0" * 8,
    "gitlab": "glpat-" + "x1Y2z3W4v5" * 2,
    "slack": "xoxb-123456789012-abcdefABCDEF",
    "slack webhook": "hooks.slack.com/services/T000/B000/XXXX",
    "stripe": "sk_live_" + "4eC39HqLyj" * 2,
    "google": "AIza" + "SyD-9tSrke72P" * 3,
    "google oauth": "ya29." + "a0AfH6SMBx" * 3,
    "openai": "sk-proj-" + "abcDEF123_" * 4,
    "anthropic": "sk-ant-api03-" + "abcDEF123-" * 4,
    "hugging face": "hf_" + "abcDEFghij" * 3,
    "npm": "npm_" + "abcDEF1234" * 4,
    "pypi": "pypi-AgEIcHlwaS5vcmcCJ" + "x" * 40,
    "jws": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlX29mX2l0",
    "jwe": "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.Y2lwaGVy.dGFn",
    "private key": "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nab-cd==\n-----END EC PRIVATE KEY-----",
    "private key without end": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg",
    "pgp": "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----",
    "very long": "ghp_" + "aB3x" * 10_000,
}

HELD = {
    "bearer": ("Authorization: Bearer abc", "Bearer abc"),
    "bearer without a header": ("curl with bearer abcdefghijklmnopqrst!", "bearer abcdefghijklmnopqrst"),
    "cookie": ("Set-Cookie: sid=31d4d96e407aad42; HttpOnly", "sid=31d4d96e407aad42; HttpOnly"),
    "user in url": ("https://ann:hunter2@example.com/a", "ann:hunter2"),
    "pair": ("password=hunter2&x=1", "hunter2"),
    "pair with colon": ("db_password: hunter2, ok", "hunter2"),
    "pair in quotes": ("{'client_secret': 'two words'}", "two words"),
    "pair with an escaped quote": (r'apiKey := "a\"b" + c', r"a\"b"),
    "pair in a query": ("https://x.example/?access_token=abc&y", "abc"),
    "pair whose quote does not end": ('secret = "a b', "a b"),
    "variable": ("export AWS_SECRET_ACCESS_KEY=abc/def+g", "abc/def+g"),
}

LEFT = [
    "git commit 9fceb02d0ae598e95dc970b74767f19372d61af8 by Ann",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "see https://example.com/a?page=2&next_page_token=abc",
    "task-management-framework-v2, disk-usage-of-all-disks, pypi-publish-action-of-ours, keyJob.run.now",
    "the password is asked for; tokens: 500, max_tokens=20",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "",
]


def found(text: str) -> Iterator[str]:
    return (text[start:end] for start, end in find_secrets(text))


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("around", ["{}", "the key is {}.", "x/{}\n", '"{}"', "FOO_{}"], ids=range(5))
def test_a_secret_is_found_whole(name: str, around: str) -> None:
    """A credential of a known form is found from its beginning to its end, also where it is very long."""
    assert any(SECRETS[name] in each for each in found(around.format(SECRETS[name])))


@pytest.mark.parametrize("name", HELD)
def test_what_a_name_or_a_scheme_holds_is_found(name: str) -> None:
    """Of `password=` and the like, the value is found, and the name stays."""
    text, secret = HELD[name]
    assert secret in set(found(text))


@pytest.mark.parametrize("text", LEFT, ids=range(len(LEFT)))
def test_usual_text_is_left(text: str) -> None:
    """Digests, addresses, counts and places of pages are no secrets."""
    assert list(found(text)) == []


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("password", True),
        ("DB_PASSWORD", True),
        ("clientSecret", True),
        ("x-api-key", True),
        ("access token", True),
        ("Authorization", True),
        ("nextPageToken", False),
        ("tokens", False),
        ("key", False),
        ("passwords_changed", False),
        ("", False),
    ],
)
def test_names_tell_secrets(name: str, is_secret: bool) -> None:
    """A member is known by its name, in any spelling; a place in a list of pages is no secret."""
    assert names_secret(name) is is_secret
