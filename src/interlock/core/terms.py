"""The terms of a text: its whole tokens in one form, so that an argument is found where it was seen before.

A text is read in one of two ways. What may lend trust (the goal, a trusted result) is read strictly: a token
is seen only as it stands. What an attacker may have written is read loosely as well: in each form that a model
might make of it. So a disguise can take trust from an argument, and never give it any.
"""

import html
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import orjson

from interlock.core.value_forms import (
    decimal,
    fold,
    groups,
    hosts,
    is_host,
    may_have_groups,
    number,
    number_otherwise,
    plain,
)

# What ends a token, whatever stands round it. A hyphen and an apostrophe are part of a word, a dash is not.
_CHUNK = re.compile(
    r"[^\s\x00-\x20\x7f-\x9f\"<>(){}\[\];|`"
    r"\u00ab\u00bb\u2013\u2014\u201c-\u201f\u2039\u203a\u3000-\u303d\uff01-\uff0f]+"
)
_BESIDES_WORDS = re.compile(r"[^\w-]")
_BEFORE = "'\u2018\u2019!?:,=#\u2026\u00a1\u00bf"
_AFTER = "'\u2018\u2019!?:,.=/\u2026"
# Where two tokens stand without a space between. The colons of a time of day are none.
_SEPARATOR = re.compile(r"[,=?&]|(?<![0-9]):|:(?![0-9])")
_MAYBE_SEPARATOR = re.compile(r"[,=?&:]")
_SLASH = re.compile(r"[/\\]")
_NOT_IN_URL = dict.fromkeys(map(ord, "\t\r\n"))  # WHATWG URL 4.4
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}://")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([bfnrt])|([\"'/\\]))")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

# Of loose reading. What repeats is bounded.
_PART_BREAK = re.compile(r"[^\w.@+-]+")
_EDGES = "._-+@"
_ENTITY = re.compile(r"&(?:#[0-9]{1,24}|#x[0-9a-f]{1,24}|[a-z]{1,24}[0-9]{0,2});?")
_SPELT = re.compile(r"@|[\[({<]\s{0,3}(?:at|dot|\.)\s{0,3}[\])}>]|\sdot\s")
_SPELT_AT = re.compile(r"\s{0,3}(?:[\[({<]\s{0,3}(?:at|@)\s{0,3}[\])}>]|@)\s{0,3}")
_SPELT_DOT = re.compile(r"\s{0,3}[\[({<]\s{0,3}(?:dot|\.)\s{0,3}[\])}>]\s{0,3}|\s{1,3}dot\s{1,3}")
_SPREAD_ACCOUNT = re.compile(r"(?<!\w)[a-z]{2}[0-9]{2}[a-z0-9]{0,30}(?:[\s-]{1,3}[a-z0-9]{1,30}){1,12}")
_ACCOUNT_BREAK = re.compile(r"[\s-]+")
_ACCOUNT_LENGTHS = range(15, 35)  # ISO 13616


def terms_of(said: Any, *, loosely: bool = False) -> list[str]:
    """The terms of a text, or of all keys, strings and numbers of a JSON value; each once.

    A URL gives its host and the whole, a path its base name and the whole; a number gives its decimals,
    whatever separates its thousands; an IBAN in groups gives the account as one word, and its groups. Case
    and punctuation at both ends do not matter; letters that look alike do. `loosely` gives more: see `loosen`,
    and also what is part of a token, or spread over several.
    """
    found: dict[str, None] = {}
    for leaf in _leaves(said):
        if not isinstance(leaf, str):
            found[decimal(leaf)] = None
            continue
        text = fold(leaf)
        chunks = _see(text, found)
        if loosely:
            _see_loosely(text, chunks, found)
    return list(found)


def terms_of_value(value: str | float) -> tuple[str, ...]:
    """The terms that must all have been seen for an argument to have been seen; none for a blank string.

    A URL needs its host and the whole of it: of a host that the user named, another page was not seen.
    """
    if not isinstance(value, str):
        return (decimal(value),)
    text = fold(value)
    words = text.split()
    if "".join(words).isalpha():
        return tuple(dict.fromkeys(words))
    if not _BESIDES_WORDS.search(text):
        return (_word(text),) if text else ()
    if may_have_groups(text):
        text = _with_groups_joined(text)
    terms: list[str] = []
    for chunk in _CHUNK.findall(text):
        terms += (chunk,) if chunk.isalpha() else _tokens(chunk)
    if terms:
        return tuple(dict.fromkeys(terms))
    text = text.strip()  # nothing but brackets and the like: a token of its own, and no text has it
    return (text,) if text else ()


def terms_of_value_loosely(value: str) -> tuple[str, ...]:
    """Those of a string as a tool might understand it; see `loosen`. In a URL, line breaks and tabs go."""
    text = loosen(fold(value))
    if "://" in text:
        text = text.translate(_NOT_IN_URL)
    return tuple(map(_without_zeros, terms_of_value(text)))


def loosen(text: str) -> str:
    """A folded text as a model might pass it on.

    Escapes of URLs, HTML and JSON are resolved, once each, compatible and invisible characters too, and
    `bob [at] evil dot com` is put together.
    """
    if "%" in text:
        text = unquote(text)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    if "\\" in text:
        text = _unescape(text)
    text = plain(text)
    if _SPELT.search(text):
        text = _SPELT_AT.sub("@", _SPELT_DOT.sub(".", text))
    return fold(text)


def said_in(result: bytes, *, complete: bool = True) -> Any:
    """What a tool's result says: the JSON value, or the text where it is none, or only its beginning.

    Of a beginning, the last token is left out, for the rest of it is missing.
    """
    if complete:
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(result)
    text = _unescape(result.decode("utf-8", "ignore"))
    return text if complete else without_last_token(text)


def without_last_token(text: str) -> str:
    """The text up to its last space or quotation mark."""
    return text[: max(map(text.rfind, ' \n\t"')) + 1]


def _leaves(said: Any) -> Iterator[str | int | float]:
    """Keys, strings and numbers, in the order of the text; of a string that is JSON, those of its value."""
    stack = [said]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            node = _embedded(node)
        if isinstance(node, dict):
            stack.extend(part for item in reversed(node.items()) for part in reversed(item))
        elif isinstance(node, list):
            stack.extend(reversed(node))
        elif isinstance(node, str | int | float) and not isinstance(node, bool):
            yield node


def _embedded(text: str) -> Any:
    if (text[:1], text[-1:]) in (("{", "}"), ("[", "]")):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    return text


def _see(text: str, found: dict[str, None], before: Container[str] = ()) -> Mapping[str, None]:
    """Note the terms of a folded text, but for those of chunks that were seen before; return its chunks."""
    chunks = dict.fromkeys(_CHUNK.findall(text))
    for chunk in chunks:
        if chunk.isalpha():
            found[chunk] = None
        elif chunk not in before:
            for token in _tokens(chunk):
                found[token] = None
                if _SLASH.search(token):
                    found[_SLASH.split(token)[-1]] = None
    if may_have_groups(text):
        found.update((joined, None) for _, _, joined in groups(text))
    return chunks


def _see_loosely(text: str, chunks: Mapping[str, None], found: dict[str, None]) -> None:
    _see_parts(chunks, found)
    loosened = loosen(text)
    if loosened != text:
        more = _see(loosened, found, chunks)
        _see_parts([chunk for chunk in more if chunk not in chunks], found)
    for spread in _SPREAD_ACCOUNT.finditer(loosened):
        account = ""
        for part in _ACCOUNT_BREAK.split(spread[0]):
            account += part
            if len(account) in _ACCOUNT_LENGTHS:
                found[account] = None


def _see_parts(chunks: Iterable[str], found: dict[str, None]) -> None:
    """Note what a reader might take for a token within one: `bob@evil.com` in `to=*bob@evil.com*`, its host."""
    for chunk in chunks:
        if chunk.isalpha():
            continue
        for piece in _PART_BREAK.split(chunk):
            part = piece.strip(_EDGES)
            if part.isalpha():
                found[part] = None
            elif part:
                found[_without_zeros(part)] = None
                found[part.rpartition("@")[2]] = None
                if "." in part:
                    found[number_otherwise(part) or part] = None


def _without_zeros(term: str) -> str:
    """A number with needless zeros before it as that number, and any other term as it is."""
    return number(term.lstrip("0")) or term


def _tokens(chunk: str) -> list[str]:
    """The tokens in a piece of folded text without spaces; they are the terms that it needs to be seen."""
    token = chunk.lstrip(_BEFORE).rstrip(_AFTER)
    if token.isalpha() or not _BESIDES_WORDS.search(token):
        return [_word(token) or chunk]
    if "://" in chunk and (starts := [scheme.start() for scheme in _SCHEME.finditer(chunk)]):
        return _url_tokens(chunk, starts)
    has_slash = "/" in token
    amount = None if has_slash else number(token)
    if amount is not None:
        return [amount]
    if _MAYBE_SEPARATOR.search(token) and len(parts := _SEPARATOR.split(token)) > 1:
        return [term for part in dict.fromkeys(parts) if part for term in _tokens(part)]
    return _path_tokens(token) if has_slash else [token]


def _word(token: str) -> str:
    """A token of letters, digits, hyphens and underscores. With a hyphen within it is no number."""
    return token if token.isalpha() or token.find("-", 1) > 0 else number(token) or token


def _url_tokens(chunk: str, starts: list[int]) -> list[str]:
    """Those of each URL, for one may hold another, and of what stands before the first."""
    tokens = _tokens(chunk[: starts[0]]) if starts[0] else []
    for begin, end in zip(starts, [*starts[1:], len(chunk)], strict=True):
        url = chunk[begin:end].rstrip(_AFTER)
        tokens += filter(None, hosts(url))
        tokens.append(url.removeprefix("https://").removeprefix("http://"))
    return tokens


def _path_tokens(token: str) -> list[str]:
    while token.startswith("./"):
        token = token[2:]
    head = token.partition("/")[0]
    return [head, token] if "." in head and is_host(head) else [token]


def _with_groups_joined(text: str) -> str:
    end, joined_text = 0, ""
    for start, stop, joined in groups(text):
        if start >= end:
            joined_text += text[end:start] + joined
            end = stop
    return joined_text + text[end:]


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    if code:
        return _LONE_SURROGATE.sub("\ufffd", chr(int(code, 16)))
    return escape[4] or " "
