"""What the kernel tells of a process (proc(5))."""

from pathlib import Path

_LISTENING = "0A"


def is_alive(process_id: int) -> bool:
    """Whether it runs; one that ended, and that nobody has asked after yet, does not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def environment(process_id: int) -> dict[str, str]:
    """The environment that it was given."""
    entries = Path(f"/proc/{process_id}/environ").read_text().split("\0")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries if entry)}


def cpu_ticks(process_id: int) -> int:
    """Processor time that it has used, in clock ticks (fields 14 and 15 of `stat`)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def listening_ports(process_id: int) -> list[int]:
    """The TCP ports that it listens on."""
    inodes = _socket_inodes(process_id)
    ports = []
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process_id}/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and fields[9] in inodes:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports


def _socket_inodes(process_id: int) -> set[str]:
    links = [str(link.readlink()) for link in Path(f"/proc/{process_id}/fd").iterdir() if link.is_symlink()]
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
