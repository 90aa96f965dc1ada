"""One parser of web addresses, for what the policy sees and for what is connected to (case 45).

It takes less than RFC 3986 allows: what two readers may take for two addresses is refused, and never mended. What
passes is in one form, which is what a library that connects reads again as the same.
"""

import re
import string
import unicodedata
from dataclasses import dataclass
from typing import NoReturn, Self

from interlock.core.public_address import IPAddress
from interlock.core.web_host import HostError, host_in_one_form, literal_address

MAX_CHARACTERS = 8_192
MAX_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")  # RFC 3986 2.3
_PATH_CHARACTERS = _UNRESERVED | frozenset("!$&'()*+,;=:@/")  # RFC 3986 3.3
_QUERY_CHARACTERS = _PATH_CHARACTERS | frozenset("?")  # RFC 3986 3.4

# Controls, what directs how others stand, surrogates, and every blank.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})

_ADDRESS = re.compile(r"(?P<scheme>[^:/?#]*+)://(?P<authority>[^/?#]*+)(?P<rest>.*+)", re.DOTALL)
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TWICE_ESCAPED = re.compile(r"%25[0-9A-Fa-f]{2}")
_TRICK_IN_PATH = re.compile(r"%(?:2[EeFf]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")
_DOTS_WITH_PARAMETERS = re.compile(r"(?:^|/)\.{1,2};")


class AddressError(ValueError):
    """A text that is no web address of the one form; the message says why, and nothing of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """A web address in its one form.

    `host` is a name in lower-case ASCII, or an IP address without brackets. `path` begins with a slash, has no dot
    segments and no empty ones but the last; of `path` and `query`, percent-encodings are in upper case and none is of
    an unreserved character. An empty query is None.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = None

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454), as they stand before the path."""
        return f"{self.scheme}://{self.authority}"

    @property
    def target(self) -> str:
        """What a request asks its origin for (RFC 9112 3.2.1)."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def literal(self) -> IPAddress | None:
        """The host as an IP address; None for a name."""
        return literal_address(self.host)

    def is_below(self, base: Self) -> bool:
        """Whether it is `base` itself, or of its origin with a path inside its path."""
        folder = base.path.removesuffix("/")
        return self.origin == base.origin and (self.path == base.path or self.path.startswith(f"{folder}/"))

    def resolve(self, reference: str) -> "WebAddress":
        """The address that a reference in an answer of this one means (RFC 3986 5.2.2). Raises AddressError."""
        if _ADDRESS.fullmatch(reference):
            return parse(reference)
        _check_characters(reference)
        if reference.startswith("//"):
            return parse(f"{self.scheme}:{reference}")
        if reference.startswith("/"):
            return parse(f"{self.origin}{reference}")
        if reference.startswith(("?", "#")) or not reference:
            return parse(f"{self.origin}{self.path}{reference}")
        if ":" in reference.partition("/")[0]:
            _refuse("is of another scheme, expected `http` or `https`")
        return parse(f"{self.origin}{self.path.rpartition('/')[0]}/{reference}")


def parse(text: str) -> WebAddress:
    """The address that `text` writes. A fragment is left out: it is never sent.

    Raises AddressError, and nothing else.
    """
    if len(text) > MAX_CHARACTERS:
        _refuse(f"has {len(text)} characters, expected at most {MAX_CHARACTERS}")
    _check_characters(text)
    match = _ADDRESS.fullmatch(text)
    if match is None:
        _refuse("has no scheme and host, expected `https://HOST/PATH`")
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        _refuse("is of another scheme, expected `http` or `https`")
    host, port = _authority(match["authority"], scheme)
    path, query = _path_and_query(match["rest"])
    address = WebAddress(scheme=scheme, host=host, port=port, path=path, query=query)
    if len(str(address)) > MAX_CHARACTERS:
        _refuse(f"has more than {MAX_CHARACTERS} characters once it is percent-encoded")
    return address


def encode_component(text: str) -> str:
    """Text as it stands in a query, where nothing of it means anything (RFC 3986 2.1). Raises AddressError."""
    if any(unicodedata.category(character) == "Cs" for character in text):
        _refuse("has a lone surrogate")
    return "".join(map(_encoded_unless_unreserved, text))


def _check_characters(text: str) -> None:
    if "\\" in text:
        _refuse("has a backslash, which some readers take for a slash")
    if _has_refused_character(text):
        _refuse("has a blank, a control or an invisible character, expected them percent-encoded")
    if _BROKEN_ESCAPE.search(text):
        _refuse("has a `%` without two hexadecimal digits behind it")


def _has_refused_character(text: str) -> bool:
    if text.isascii():
        return " " in text or not text.isprintable()
    return any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in text)


def _authority(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        _refuse("has a user's name before its host, expected none")
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        host, colon, port = host + bracket, port[:1], port[1:]
        if colon not in ("", ":"):
            _refuse("has something other than a port behind its host")
    else:
        host, colon, port = authority.partition(":")
    try:
        return host_in_one_form(host), _port(port) if colon else DEFAULT_PORTS[scheme]
    except HostError as error:
        raise AddressError(str(error)) from error


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > MAX_PORT:
        _refuse(f"has a port that is no number of 1 to {MAX_PORT} in its shortest form")
    return int(text)


def _path_and_query(rest: str) -> tuple[str, str | None]:
    path, _, query = rest.partition("#")[0].partition("?")
    return _path(path), _encoded(query, _QUERY_CHARACTERS) or None


def _path(text: str) -> str:
    """The path in one form. What servers read in different ways is refused."""
    if _TRICK_IN_PATH.search(text):
        _refuse(
            "has a dot, a slash, a backslash or a control percent-encoded in its path; servers read them apart"
        )
    if _TWICE_ESCAPED.search(text):
        _refuse("has something percent-encoded twice in its path")
    if _DOTS_WITH_PARAMETERS.search(text):
        _refuse("has a dot segment with parameters")
    if "//" in text:
        _refuse("has an empty segment in its path, which some servers leave out and others do not")
    _check_utf_8(text)
    return _without_dot_segments(_encoded(text, _PATH_CHARACTERS))


def _check_utf_8(text: str) -> None:
    """No other bytes: `%C0%AE` is an overlong dot (RFC 3629 3)."""
    if "%" not in text:
        return
    octets = b"".join(
        bytes.fromhex(part[1:]) if _ESCAPE.fullmatch(part) else part.encode() for part in _parts(text)
    )
    try:
        octets.decode()
    except UnicodeDecodeError:
        _refuse("has something percent-encoded in its path that is no UTF-8")


def _without_dot_segments(path: str) -> str:
    """RFC 3986 5.2.4, for a path that is empty or begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", "..") and kept:
        kept.append("")
    return "/" + "/".join(kept)


def _encoded(text: str, allowed: frozenset[str]) -> str:
    """RFC 3986 6.2.2.1 and 6.2.2.2: escapes in upper case, none of the unreserved; all else that needs one has it."""
    if allowed.issuperset(text):
        return text
    return "".join(_encoded_part(part, allowed) for part in _parts(text))


def _parts(text: str) -> list[str]:
    """Each escape, and each other character."""
    return re.findall(r"%[0-9A-Fa-f]{2}|.", text, re.DOTALL)


def _encoded_part(part: str, allowed: frozenset[str]) -> str:
    if len(part) == 1:
        return part if part in allowed else _escapes(part)
    if part == "%00":
        _refuse("has U+0000 percent-encoded")
    character = chr(int(part[1:], 16))
    return character if character in _UNRESERVED else part.upper()


def _encoded_unless_unreserved(character: str) -> str:
    return character if character in _UNRESERVED else _escapes(character)


def _escapes(character: str) -> str:
    return "".join(f"%{octet:02X}" for octet in character.encode())


def _refuse(why: str) -> NoReturn:
    raise AddressError(f"the address {why}")
