"""A way to PostgreSQL that counts round trips, and on which nothing moves any more when a test says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from interlock.adapters.postgres_address import PostgresAddress

_READY = b"Z"  # ReadyForQuery, which ends each answer (PostgreSQL 15, 55.7)
_HEADER = 5


class CountingProxy:
    """`round_trips` counts the answers that the server has ended."""

    def __init__(self, host: str, port: int) -> None:
        self.round_trips = 0
        self._host = host
        self._port = port
        self._moving = asyncio.Event()
        self._moving.set()
        self._writers: list[asyncio.StreamWriter] = []

    def hang(self) -> None:
        """From now on no byte comes through, until `go_on`."""
        self._moving.clear()

    def go_on(self) -> None:
        """Whatever waits comes through."""
        self._moving.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, back]
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(reader, back))
                both.create_task(self._answers(there, writer))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            back.close()

    def close(self) -> None:
        """End all connections."""
        self._moving.set()
        for writer in self._writers:
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._moving.wait()
            writer.write(data)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            header = await reader.readexactly(_HEADER)
            content = await reader.readexactly(int.from_bytes(header[1:], "big") - 4)
            await self._moving.wait()
            self.round_trips += header[:1] == _READY
            writer.write(header + content)


@contextlib.asynccontextmanager
async def through_proxy(address: PostgresAddress) -> AsyncIterator[tuple[PostgresAddress, CountingProxy]]:
    """The same database by way of a proxy."""
    [(host, port)] = address.hosts
    proxy = CountingProxy(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        own = server.sockets[0].getsockname()[1]
        yield replace(address, hosts=(("127.0.0.1", own),)), proxy
    finally:
        server.close()
        proxy.close()
        await server.wait_closed()
