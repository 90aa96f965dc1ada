"""A real MCP server over stdio that does not end when its input does, and has a child.

Its own process id and its child's are the lines of the file that the first argument names.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import mcp.server.stdio
from mcp.server.lowlevel.server import Server


async def serve() -> None:
    server = Server("stubborn")
    async with mcp.server.stdio.stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
        await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "3600"])
    Path(sys.argv[1]).write_text(f"{os.getpid()}\n{child.pid}\n")
    asyncio.run(serve())
