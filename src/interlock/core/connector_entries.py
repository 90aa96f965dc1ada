"""What the catalog says of tools that are no MCP server's: a web service's, and commands."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from interlock.core.web_address import parse

# What says who calls, where to, or how the message is framed (RFC 9110 7.6.1) is the gateway's to say.
_GATEWAY_HEADERS = re.compile(
    r"host|authorization|cookie2?|idempotency-key|content-(?:length|encoding)|accept-encoding|connection|keep-alive"
    r"|te|trailer|transfer-encoding|upgrade|expect|via|max-forwards|forwarded|x-forwarded-.*|x-real-ip|proxy-.*",
    re.IGNORECASE,
)


def _callers_header(name: str) -> str:
    if _GATEWAY_HEADERS.fullmatch(name):
        raise ValueError(f"`{name}` is for the gateway to set, and for no caller")
    return name


def _base(text: str) -> str:
    if text and (parse(text).query is not None or "#" in text):
        raise ValueError("a base has no query and no fragment")
    return text


Header = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$"), AfterValidator(_callers_header)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class HttpEntry(_Entry):
    """A tool that is a web service. Its arguments are of one form (core.http_call), which its schema may narrow.

    Below a `base` that is `{"method", "path", "query": [[name, value]...], "headers": {...}, "body"}`, and without
    one `{"method", "url", "headers", "body"}`. `headers` are those that a caller may set.
    """

    base: Annotated[str, Field(max_length=2_048), AfterValidator(_base)] = ""
    headers: Annotated[tuple[Header, ...], Field(strict=False)] = ()


class CommandEntry(_Entry):
    """A tool that is a command in a sandbox. An element of `argv` is fixed text, or `{name}`: that argument's value.

    An argument that is absent leaves its element out, and one that is a list becomes as many elements. `roots` are
    the declared folders that the command sees, read-only unless they are in `writable`. `leading_dash` are arguments
    whose value may begin with `-` where the program could take it for an option.

    The limits are those of setrlimit(2): `cpu_seconds`, `memory_bytes` (of address space) and `file_bytes` hold for
    each of its processes, of which there are at most `processes`, threads among them.
    """

    argv: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=4_096)], ...],
        Field(min_length=1, max_length=128, strict=False),
    ]
    stdin: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,128}$")] = ""
    leading_dash: Annotated[tuple[str, ...], Field(strict=False)] = ()
    roots: Annotated[tuple[str, ...], Field(strict=False)] = ()
    writable: Annotated[tuple[str, ...], Field(strict=False)] = ()
    network: bool = False
    cpu_seconds: Annotated[int, Field(ge=1, le=3_600)] = 10
    memory_bytes: Annotated[int, Field(ge=2**20, le=2**40)] = 512 * 2**20
    processes: Annotated[int, Field(ge=1, le=4_096)] = 64
    file_bytes: Annotated[int, Field(ge=0, le=2**40)] = 64 * 2**20
