"""What the server `odd` of tests/mcp_servers notes in its journal."""

from pathlib import Path


def runs(journal: Path) -> list[str]:
    """The calls that it really got, in order."""
    noted = journal.read_text().splitlines()
    return [line for line in noted if not line.startswith(("started", "cancelled"))]
