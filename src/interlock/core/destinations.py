"""Where arguments lead: the address that a URL names, the file that a path names, in one form for all.

The decision service tells the policy, and the token carries the digest; a gateway looks again before it redeems,
and refuses where an argument leads to another place by then (cases 46, 47).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from interlock.core import argument_forms, http_call, web_address
from interlock.core.canonical import digest_of
from interlock.core.catalog import ArgumentRole, Tool
from interlock.core.public_address import is_public
from interlock.core.web_address import AddressError, WebAddress

DestinationKind = Literal["url", "path"]

DestinationProblem = Literal["", "malformed", "outside_roots", "not_public"]
"""Why nothing good is known of a destination: what is written is no address or path of the one form; the path leads
out of the declared roots; the address is written as a number that is not a public one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where one argument leads. `path` is the argument's JSON Pointer, empty for the call as a whole.

    `canonical` is the address or the absolute path in its one form, symbolic links followed; `host` is an address's
    host; `root` names the declared root that a path is under. They are empty where there is none, or a `problem`
    other than `not_public`.
    """

    path: str
    kind: DestinationKind
    canonical: str
    host: str = ""
    root: str = ""
    problem: DestinationProblem = ""


ResolvePath = Callable[[Mapping[str, str], str], tuple[str, str, DestinationProblem]]
"""From declared roots (folders by name) and what an argument says: canonical path, name of its root, problem."""


def destinations_of(
    tool: Tool, arguments: Mapping[str, Any], resolve: ResolvePath
) -> tuple[Destination, ...]:
    """Where the arguments lead that the catalog marks as `url` or `path`, in their order; empty for no such tool.

    A path leads somewhere only where the tool's catalog file declares roots.
    """
    found = (
        [] if tool.entry.http is None else [_of_address("", http_call.address, tool.entry.http, arguments)]
    )
    roles = tool.entry.roles
    wanted = _wanted(tool)
    if wanted & set(roles.values()):
        for pointer, value in argument_forms.leaves(arguments):
            role = argument_forms.role_at(pointer, roles)
            if role in wanted:
                found.append(_destination(pointer, str(value), role, tool.roots, resolve))
    return tuple(found)


def disclosed(tool: Tool | None, destinations: Iterable[Destination]) -> list[Destination]:
    """The same without what sensitive arguments would show in them: of an address its origin stays (case 63)."""
    sensitive = dict.fromkeys(tool.entry.sensitive if tool else (), ArgumentRole.URL)
    return [
        _without_argument(each)
        if any(argument_forms.role_at(at, sensitive) for at in _made_of(each))
        else each
        for each in destinations
    ]


def digest_of_destinations(destinations: Iterable[Destination]) -> str:
    """SHA-256, base64url, of where arguments lead; empty where they lead nowhere."""
    stated = [asdict(destination) for destination in destinations]
    return digest_of(stated) if stated else ""


def _wanted(tool: Tool) -> set[ArgumentRole]:
    return {ArgumentRole.URL, ArgumentRole.PATH} if tool.roots else {ArgumentRole.URL}


def _destination(
    pointer: str, text: str, role: ArgumentRole, roots: Mapping[str, str], resolve: ResolvePath
) -> Destination:
    if role is ArgumentRole.URL:
        return _of_address(pointer, web_address.parse, text)
    canonical, root, problem = resolve(roots, text)
    return Destination(path=pointer, kind="path", canonical=canonical, root=root, problem=problem)


def _of_address(pointer: str, read: Callable[..., WebAddress], *source: Any) -> Destination:
    try:
        address = read(*source)
    except AddressError:
        return Destination(path=pointer, kind="url", canonical="", problem="malformed")
    literal = address.literal
    return Destination(
        path=pointer,
        kind="url",
        canonical=str(address),
        host=address.host,
        problem="" if literal is None or is_public(literal) else "not_public",
    )


def _made_of(destination: Destination) -> tuple[str, ...]:
    """Pointers to the arguments that a destination shows; that of an HTTP call as a whole shows these."""
    return (destination.path,) if destination.path else ("/url", "/path", "/query")


def _without_argument(destination: Destination) -> Destination:
    """A host that is in a sensitive argument is told all the same: no policy could stand without it."""
    if destination.kind == "path" or not destination.canonical:
        return replace(destination, canonical="")
    return replace(destination, canonical=f"{web_address.parse(destination.canonical).origin}/")
