"""How requests to webhooks are signed, and checked by those who get them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.adapters.webhook import signature
from tests.fakes import NOON

SECRET = b"0123456789abcdef0123456789abcdef"


def test_a_request_is_signed_with_each_secret() -> None:
    """While a secret is changed, a receiver can check with the old one and with the new one."""
    at = NOON
    both = signature([SECRET, SECRET[::-1]], b"{}", at)
    assert (
        both == f"{signature([SECRET], b'{}', at)},{signature([SECRET[::-1]], b'{}', at).partition(',')[2]}"
    )


def docs_check() -> Callable[[bytes, str, bytes, float], bool]:
    """`is_genuine` as docs/approvals.md has it."""
    page = (Path(__file__).parents[3] / "docs" / "approvals.md").read_text(encoding="utf-8")
    [code] = [part.partition("```")[0] for part in page.split("```python\n") if "def is_genuine" in part]
    names: dict[str, Callable[[bytes, str, bytes, float], bool]] = {}
    exec(code, names)
    return names["is_genuine"]


@pytest.mark.parametrize(
    ("secret", "body", "later", "genuine"),
    [
        (SECRET, b'{"a":1}', 0, True),
        (SECRET, b'{"a":1}', 299, True),
        (SECRET, b'{"a":1}', 301, False),
        (SECRET, b'{"a":2}', 0, False),
        (SECRET[::-1], b'{"a":1}', 0, False),
    ],
    ids=["whole", "late", "stale", "changed", "other-secret"],
)
def test_receivers_can_check_a_signature(secret: bytes, body: bytes, later: int, genuine: bool) -> None:
    """The check that the documentation shows takes what is genuine and fresh, and nothing else."""
    at = NOON
    header = signature([b"another secret of thirty-two byte", SECRET], b'{"a":1}', at)
    assert docs_check()(secret, header, body, at.timestamp() + later) is genuine


@pytest.mark.parametrize(
    "header",
    ["", "v1=", "t=,v1=", "t=x,v1=0", "t=1,t=2,v1=0", "t=1,v1=\xe9", "t=" + "9" * 5_000 + ",v1=0"],
    ids=["empty", "no-time", "nothing", "no-number", "two-times", "not-ascii", "long-time"],
)
def test_receivers_refuse_what_is_no_signature(header: str) -> None:
    """The check that the documentation shows refuses any other header, and breaks on none."""
    empty = hashlib.sha256().hexdigest()
    assert docs_check()(SECRET, header.replace("v1=0", f"v1={empty}"), b"", 1.0) is False
