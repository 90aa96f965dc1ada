"""The keys that sign execution tokens, for a person to list and rotate."""

from pathlib import Path

from interlock.adapters.clock import SystemClock
from interlock.adapters.signing_key import LEAD_SECONDS, KeyInfo, open_or_create
from interlock.adapters.signing_key import list_keys as list_keys_of
from interlock.adapters.signing_key import rotate as rotate_folder
from interlock.compose.places import keys_folder, service_of
from interlock.compose.settings import Settings


def list_keys(settings: Settings) -> list[KeyInfo]:
    """Every key that there ever was. Raises SigningKeyError."""
    return list_keys_of(_folder(settings), SystemClock().now())


def rotate_keys(settings: Settings, *, at_once: bool) -> KeyInfo:
    """Make the next key. It signs from now on where `at_once`, before gateways had time to learn of it.

    The old key stays published until all that it signed has expired.
    """
    clock = SystemClock()
    open_or_create(_folder(settings), clock.now)
    return rotate_folder(_folder(settings), clock.now(), 0 if at_once else LEAD_SECONDS)


def _folder(settings: Settings) -> Path:
    return keys_folder(service_of(settings))
