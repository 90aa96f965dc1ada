"""From a host's name to its IP addresses, as this machine resolves names."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address

from interlock.core.public_address import IPAddress

Resolve = Callable[[str], Awaitable[Sequence[IPAddress]]]
"""All addresses of a name, the best first. Raises OSError where there are none, or none can be asked for."""


# Threads of their own: a name server that hangs holds up other names, and nothing else of the gateway.
_THREADS = ThreadPoolExecutor(max_workers=16, thread_name_prefix="names")


async def resolve_name(name: str) -> Sequence[IPAddress]:
    """As Resolve, in the order of RFC 6724."""
    look_up = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_THREADS, look_up)
    return [ip_address(address[0]) for *_, address in found]
