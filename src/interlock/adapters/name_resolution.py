"""From a host's name to its IP addresses, as this machine resolves names."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from interlock.core.public_address import IPAddress

Resolve = Callable[[str], Awaitable[Sequence[IPAddress]]]
"""All addresses of a name, the best first. Raises OSError where there are none, or none can be asked for."""


async def resolve_name(name: str) -> Sequence[IPAddress]:
    """As Resolve, in the order of RFC 6724."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [ip_address(address[0]) for *_, address in found]
