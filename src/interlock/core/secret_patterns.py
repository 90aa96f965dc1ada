"""Where credentials stand in a text, and the names of what holds one.

The regular expressions are linear: before what may be long there is a bounded part, and what may be long is possessive
and comes last, so that it never has to be given up again (case 14). A credential is redacted to its end, however long
it is. There is no rule for what merely looks like chance: digests, ids and images do too.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

_REST = "[A-Za-z0-9_-]*+"

# How each begins, which tells it from other text as its issuer documents it, and what belongs to it besides.
_FORMS = (
    # To its end, or to that of the text. Not possessive: with that, Python before 3.11.5 finds the wrong end (its issue
    # 106052).
    (
        "-----BEGIN ",
        r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?--[^-]*(?:-(?!----END)[^-]*)*(?:-----END [A-Z0-9 ]{0,60}-----)?",
    ),
    ("ilk_", rf"[A-Za-z0-9_-]{{8}}{_REST}"),  # a credential of this service (core/identity.py)
    ("(?:AKIA|ASIA|ABIA|ACCA|AIDA|AROA)", rf"[A-Z0-9]{{16}}{_REST}"),
    ("gh[pousr]_", rf"[A-Za-z0-9]{{20}}{_REST}"),
    ("github_pat_", rf"[A-Za-z0-9_]{{20}}{_REST}"),
    ("glpat-", rf"[A-Za-z0-9_-]{{16}}{_REST}"),
    ("xox[a-z]-", rf"[A-Za-z0-9-]{{8}}{_REST}"),
    ("xapp-[0-9]-", rf"[A-Za-z0-9-]{{8}}{_REST}"),
    (r"hooks\.slack\.com/", "[A-Za-z0-9_/-]++"),
    ("(?:sk|rk|pk)_(?:live|test)_", rf"[A-Za-z0-9]{{8}}{_REST}"),
    ("whsec_", "[A-Za-z0-9+/=]{16}[A-Za-z0-9+/=_-]*+"),
    ("AIza", rf"[A-Za-z0-9_-]{{35}}{_REST}"),
    (r"ya29\.", "[A-Za-z0-9_-]{16}[A-Za-z0-9_.-]*+"),
    ("GOCSPX-", rf"[A-Za-z0-9_-]{{16}}{_REST}"),
    ("(?<![a-z])sk-", rf"[A-Za-z0-9_-]{{16}}{_REST}"),
    ("hf_", rf"[A-Za-z0-9]{{20}}{_REST}"),
    ("npm_", rf"[A-Za-z0-9]{{30}}{_REST}"),
    ("pypi-AgE", rf"[A-Za-z0-9_-]{{16}}{_REST}"),
    (r"SG\.", "[A-Za-z0-9_-]{16}[A-Za-z0-9_.-]*+"),
    ("do[opr]_v1_", rf"[a-f0-9]{{32}}{_REST}"),
)
_CREDENTIALS = tuple(re.compile(begins + rest) for begins, rest in _FORMS)
# Tells quickly of most texts that none of them is there.
_MAYBE_CREDENTIAL = re.compile("|".join(begins for begins, _ in _FORMS))

# JWS and JWE (RFC 7515, 7516): base64url of `{"` begins with `eyJ`. A run is looked at once, from its beginning.
_DOTTED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+)++")
_JSON_IN_BASE64 = "eyJ"
_LEAST_HEADER = 16

_SCHEME = re.compile(
    r"(?i)(?:bearer|dpop)[ \t]{1,8}[A-Za-z0-9._~+/=-]{16}[A-Za-z0-9._~+/=-]*+"
)  # RFC 6750, 9449
_HEADER = re.compile(r"(?i)(?:authorization|cookie)[\"']?[ \t]{0,8}[:=][ \t]{0,8}(?P<value>[^\r\n]++)")
_USER_IN_URL = re.compile(r"://(?P<value>[^\s/?#@\"'<>]++)@")
_NAME = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]++)(?<=[A-Za-z])[\"'\\\]]{0,4}[ \t]{0,8}(?:=>|:=|[=:])[ \t]{0,8}\\{0,4}"
)
# To its quotation mark, or to where a word ends.
_VALUE = re.compile(
    r"\"[^\"\\]*+(?:\\[\s\S][^\"\\]*+)*+\"?|'[^'\\]*+(?:\\[\s\S][^'\\]*+)*+'?|[^\s,;&\"'<>{}()]++"
)
_QUOTES = "\"'"

_BETWEEN_WORDS = re.compile(r"[\s._-]")
_NAMES_END = (
    "password", "passwd", "pwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "secretkey",
    "privatekey", "encryptionkey", "signingkey", "accountkey", "sharedkey", "credential", "credentials",
    "authorization", "cookie", "secretaccesskey", "connectionstring",
)  # fmt: skip
_NO_SECRETS = (
    "pagetoken", "nexttoken", "continuationtoken", "synctoken", "cursortoken", "progresstoken",
)  # fmt: skip


def find_secrets(text: str) -> Iterator[Span]:
    """Where a credential stands, start and end; they may overlap."""
    if _MAYBE_CREDENTIAL.search(text):
        for credential in _CREDENTIALS:
            yield from (found.span() for found in credential.finditer(text))
    yield from _find_tokens(text)
    if " " in text or "\t" in text:
        yield from (found.span() for found in _SCHEME.finditer(text))
    if ":" in text or "=" in text:
        for header in (_HEADER, _USER_IN_URL):
            yield from (found.span("value") for found in header.finditer(text))
        yield from _find_pairs(text)


def names_secret(name: str) -> bool:
    """Whether what has this name is a credential: `clientSecret`, `API_KEY`; not `nextPageToken`."""
    name = _BETWEEN_WORDS.sub("", name).lower()
    return name.endswith(_NAMES_END) and not name.endswith(_NO_SECRETS)


def _find_tokens(text: str) -> Iterator[Span]:
    if _JSON_IN_BASE64 not in text:
        return
    for found in _DOTTED.finditer(text):
        header = found[0].partition(".")[0]
        begin = header.find(_JSON_IN_BASE64)
        if begin >= 0 and len(header) - begin >= _LEAST_HEADER:
            yield found.start() + begin, found.end()


def _find_pairs(text: str) -> Iterator[Span]:
    """Values of names such as `password=`. Inside of a value no other is looked for."""
    done = 0
    for found in _NAME.finditer(text):
        if found.start() < done or not names_secret(found["name"]):
            continue
        if value := _VALUE.match(text, found.end()):
            done = value.end()
            yield _inside_quotes(value)


def _inside_quotes(value: re.Match[str]) -> Span:
    start, end = value.span()
    if (mark := value[0][0]) in _QUOTES:
        start += 1
        end -= end > start and value.string[end - 1] == mark
    return start, end
