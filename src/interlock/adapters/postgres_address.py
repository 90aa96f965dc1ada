"""Where a PostgreSQL is, and who we are there: its URL, read strictly, so that no part of a password is told."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from interlock.adapters.store_errors import StoreUnusable

DEFAULT_PORT = 5432
VERIFIED = "verify-full"

_SCHEMES = {"postgresql", "postgres"}
_OPTIONS = {"host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey"}
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?\Z")
_DIGITS = re.compile(r"[0-9]{1,5}\Z")
_LAST_PORT = 65_535
_NAME = re.compile(r"[^\x00/@:?#]{1,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """A database, at the first of `hosts` that takes writes; a host that begins with `/` is a socket's folder.

    Its text names no password. Without a password here the driver looks where libpq does: PGPASSWORD,
    PGPASSFILE, ~/.pgpass. `tls` is whether the server must prove its name.
    """

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str
    password: str = field(default="", repr=False)
    tls: bool = False
    root_certificate: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def __str__(self) -> str:
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"postgresql://{self.user}@{hosts}/{self.database}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What a connection is encrypted and checked with; None for one in clear. Raises StoreUnusable."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.root_certificate)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.private_key)
        except (OSError, ssl.SSLError) as error:
            raise StoreUnusable(f"`{self}`: its certificates cannot be used: {error}") from error
        return context


def parse_address(url: str) -> PostgresAddress:
    """The address that a URL names: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`.

    Raises ValueError, whose text has nothing of the URL in it: a password that was not percent-encoded can
    look like any of its parts.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise ValueError("is no URL; percent-encode what is special in user and password") from None
    if parts.scheme not in _SCHEMES or parts.fragment:
        raise ValueError("must be `postgresql://USER@HOST/DATABASE`")
    if not options.keys() <= _OPTIONS:
        raise ValueError(f"knows no options but {', '.join(sorted(_OPTIONS))}")
    if options.get("sslmode", VERIFIED) not in {"disable", VERIFIED}:
        raise ValueError(f"takes `sslmode={VERIFIED}`, or `sslmode=disable` on this machine")
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return PostgresAddress(
        hosts=_hosts(parts.netloc.rpartition("@")[2], options),
        database=_name("database", parts.path.removeprefix("/")),
        user=_name("user", user),
        password=unquote(password),
        tls=options.get("sslmode") == VERIFIED,
        root_certificate=_file(options, "sslrootcert"),
        certificate=_file(options, "sslcert"),
        private_key=_file(options, "sslkey"),
    )


def _hosts(authority: str, options: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    folder = options.get("host", "")
    if folder.startswith("/") and not authority:
        return ((folder, _port(options.get("port"))),)
    if not authority or options.keys() & {"host", "port"}:
        raise ValueError("must name a host after `@`, or the folder of a socket as `?host=/FOLDER`")
    return tuple(_host(text) for text in authority.split(","))


def _host(text: str) -> tuple[str, int]:
    match = _HOST.match(text)
    if match is None:
        raise ValueError("must have a host, and a port of digits, after `@`")
    return match["host"].strip("[]"), _port(match["port"])


def _port(text: str | None) -> int:
    if text is None:
        return DEFAULT_PORT
    if not _DIGITS.match(text) or not 0 < int(text) <= _LAST_PORT:
        raise ValueError(f"must have a port from 1 to {_LAST_PORT}")
    return int(text)


def _name(what: str, text: str) -> str:
    name = unquote(text)
    if not _NAME.match(name):
        raise ValueError(f"must name its {what}, in at most 63 characters without any of `/@:?#`")
    return name


def _file(options: Mapping[str, str], name: str) -> Path | None:
    if name not in options:
        return None
    path = Path(options[name])
    if not path.is_absolute():
        raise ValueError(f"must give `{name}` by its whole path")
    return path
