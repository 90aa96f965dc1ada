"""A PostgreSQL as settings name it: a URL, and a password that may be in a file."""

import stat
from dataclasses import replace
from pathlib import Path

from interlock.adapters.postgres_address import VERIFIED, PostgresAddress, parse_address
from interlock.adapters.store_errors import StoreUnusable
from interlock.compose.settings_parts import is_loopback


def checked_url(url: str, *, crossing: str) -> str:
    """The URL, which may be empty. Raises ValueError: it is none, or `crossing` would cross a network in clear."""
    if not url:
        return url
    address = parse_address(url)
    elsewhere = [
        host for host, _ in address.hosts if not host.startswith("/") and not is_loopback(f"[{host}]:0")
    ]
    if elsewhere and not address.tls:
        raise ValueError(
            f"is at `{elsewhere[0]}`: anywhere but on this machine it needs `sslmode={VERIFIED}`, "
            f"for {crossing} cross the network"
        )
    return url


def check_password(setting: str, url: str, password_file: Path | None) -> None:
    """Raises ValueError for a password of nothing, or a second one."""
    if password_file and not url:
        raise ValueError(f"`{setting}_password_file` needs `{setting}`, the PostgreSQL that it is for")
    if password_file and parse_address(url).password:
        raise ValueError(f"set a password in `{setting}` or in `{setting}_password_file`, not in both")


def address_of(url: str, password_file: Path | None, *, what: str) -> PostgresAddress | None:
    """Where it is; None for an empty URL. Raises StoreUnusable where the password of `what` cannot be had."""
    if not url:
        return None
    address = parse_address(url)
    return address if password_file is None else replace(address, password=_password(password_file, what))


def _password(file: Path, what: str) -> str:
    try:
        mode, text = file.stat().st_mode, file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnusable(f"the {what}'s password cannot be read: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreUnusable(f"`{file}` is open to others; run `chmod 600 {file}`")
    return text
