"""Webhooks in the settings: what is refused, and what `doctor` says of them, without a word of a secret."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from interlock.compose.webhook_settings import WebhookSettings, check_names
from interlock.compose.webhooks import WebhookError, endpoint_of, hearers, look_at_webhook
from interlock.core.announcing import Hearer

SECRET = "0123456789abcdef0123456789abcdef"
PATH = "a-secret-path"


def a_webhook(**stated: Any) -> WebhookSettings:
    """A webhook as the settings state it."""
    return WebhookSettings.model_validate(
        {"name": "on-call", "url": f"https://alerts.example/{PATH}", "form": "slack"} | stated
    )


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """A file of mode 0600 with a secret."""
    file = tmp_path / "webhook.secret"
    file.touch(mode=0o600)
    file.write_text(f"{SECRET}\n")
    return file


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"url": f"http://alerts.example/{PATH}"}, "must be https"),
        ({"url": f"https://user:{SECRET}@alerts.example/"}, "user's name before its host"),
        ({"url": PATH}, "expected"),
        ({"form": "generic"}, "needs `secret_file`"),
        ({"events": []}, "at least 1 item"),
        ({"events": ["everything"]}, "Input should be"),
        ({"name": "On Call"}, "should match pattern"),
        ({"method": "GET"}, "Extra inputs"),
    ],
    ids=["in-clear", "user", "no-url", "unsigned", "no-events", "unknown-event", "name", "unknown-key"],
)
def test_what_is_unsafe_is_refused(stated: dict[str, Any], says: str) -> None:
    """A webhook in clear, without a signature or with a misspelt key is refused; no value is told (cases 62, 63)."""
    with pytest.raises(ValidationError) as caught:
        a_webhook(**stated)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert PATH not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost:9/x"])
def test_on_this_machine_a_webhook_may_be_in_clear(url: str) -> None:
    """What crosses no network needs no TLS."""
    assert a_webhook(url=url).url == url


def test_two_webhooks_of_one_name_are_refused() -> None:
    """They would share an outbox, and one of them would hear nothing."""
    with pytest.raises(ValueError, match="more than one webhook `on-call`"):
        check_names((a_webhook(), a_webhook()))


def test_a_webhook_hears_of_what_the_settings_say() -> None:
    """Opened and ended approvals of all tenants, unless the settings say otherwise."""
    [usual, other] = hearers([a_webhook(), a_webhook(events=["answered"], tenants=["acme"])])
    assert usual == Hearer(name="on-call", topics=frozenset({"opened", "ended"}), tenants=frozenset())
    assert other == Hearer(name="on-call", topics=frozenset({"answered"}), tenants=frozenset({"acme"}))


def test_a_webhook_is_looked_at_without_its_secrets(secret_file: Path) -> None:
    """What is told of a webhook is its host and how it is signed, and no more (case 63)."""
    webhook = a_webhook(secret_file=secret_file)
    assert look_at_webhook(webhook) == "slack to alerts.example, signed with one secret"
    assert look_at_webhook(a_webhook()) == "slack to alerts.example, not signed"
    secret_file.write_text(f"{SECRET}\n{SECRET[::-1]}\n")
    assert look_at_webhook(webhook) == "slack to alerts.example, signed with 2 secrets"
    for shown in (repr(webhook), repr(endpoint_of(webhook))):
        assert SECRET not in shown
        assert PATH not in shown


def write(text: str, file: Path) -> None:
    """Let the file hold this text."""
    file.write_text(text)


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "open": (lambda file: file.chmod(0o640), "chmod 600"),
    "gone": (Path.unlink, "cannot be read"),
    "empty": (functools.partial(write, ""), "has 0 secrets"),
    "three": (functools.partial(write, f"{SECRET}\n" * 3), "has 3 secrets"),
    "short": (functools.partial(write, SECRET[1:]), "openssl rand -hex 32"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_secret_that_protects_nothing_is_refused(secret_file: Path, case: str) -> None:
    """A file that is open to others, or holds no secret of 32 bytes, is refused, and not told (case 63)."""
    spoil, says = SPOILT[case]
    spoil(secret_file)
    with pytest.raises(WebhookError) as caught:
        endpoint_of(a_webhook(secret_file=secret_file))
    assert says in str(caught.value)
    assert SECRET[1:] not in str(caught.value)
