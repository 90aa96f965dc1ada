"""The host of a web address in one form: a name in ASCII, or an IP address that is written as one (case 45)."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NoReturn

import idna

from interlock.core.public_address import IPAddress

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DOTTED = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\]")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MAX_NAME_CHARACTERS = 253


class HostError(ValueError):
    """A text that is no host of the one form; the message says why, and nothing of the text."""


def host_in_one_form(text: str) -> str:
    """A name in lower-case ASCII (IDNA 2008), or an IP address in its shortest form, without brackets.

    Raises HostError, also for a name that IDNA would turn into another one, be it by circled letters, wide digits
    or other dots: nobody means these, but who hides a host. Upper case is no other name.
    """
    if text.startswith("["):
        return _ipv6(text)
    if not text:
        _refuse("is empty")
    name = text.lower() if text.isascii() else _ascii_name(text)
    if _ends_in_a_number(name):
        return _ipv4(name)
    _check_name(name)
    return name


def literal_address(host: str) -> IPAddress | None:
    """A host of the one form as an IP address; None for a name."""
    if ":" in host:
        return IPv6Address(host)
    return IPv4Address(host) if _ends_in_a_number(host) else None


def _ipv4(text: str) -> str:
    """Dotted decimal only. C libraries read `127.1`, `0x7f.1` and `2130706433` as addresses too."""
    if not _DOTTED.fullmatch(text):
        _refuse("is a number, but no IPv4 address in dotted decimal")
    try:
        return str(IPv4Address(text))  # it refuses leading zeros, which some read as octal
    except AddressValueError:
        _refuse("is a number, but no IPv4 address in dotted decimal")


def _ipv6(text: str) -> str:
    """RFC 5952, without a zone id."""
    if not (match := _BRACKETED.fullmatch(text)):
        _refuse("is no IPv6 address in brackets, without a zone id")
    try:
        address = IPv6Address(match[1])
    except AddressValueError:
        _refuse("is no IPv6 address in brackets, without a zone id")
    if mapped := address.ipv4_mapped:
        # Python writes the end as IPv4 from 3.13 on, and a digest may not depend on that.
        return f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"
    return str(address)


def _ends_in_a_number(name: str) -> bool:
    """Whether a URL reader takes the name for an IPv4 address (WHATWG URL 3.5)."""
    return _NUMBER.fullmatch(name.removesuffix(".").rpartition(".")[2]) is not None


def _ascii_name(text: str) -> str:
    try:
        # UTS #46 4: what the mapping changes beyond case is written to look like another host.
        if idna.uts46_remap(text, std3_rules=True) != text.lower():
            _refuse("is written in characters that stand for others")
        return idna.encode(text.lower(), strict=True).decode()
    except (idna.IDNAError, UnicodeError, ValueError) as error:
        if isinstance(error, HostError):
            raise
        raise HostError("the host is no name of IDNA 2008") from error


def _check_name(name: str) -> None:
    if len(name) > _MAX_NAME_CHARACTERS:
        _refuse(f"has more than {_MAX_NAME_CHARACTERS} characters")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            _refuse(
                "has a label that is empty, longer than 63 characters, or not of letters, digits and hyphens"
            )
        if label.startswith("xn--"):
            _check_encoded_label(label)


def _check_encoded_label(label: str) -> None:
    try:
        same = idna.alabel(idna.ulabel(label)).decode() == label
    except (idna.IDNAError, UnicodeError, ValueError):
        same = False
    if not same:
        _refuse("has a label in `xn--` that encodes no name of IDNA 2008")


def _refuse(why: str) -> NoReturn:
    raise HostError(f"the host {why}")
