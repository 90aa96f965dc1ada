"""What the kernel tells of processes and of the machine (proc(5), so Linux only)."""

import os
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(process_id: int) -> float:
    """Processor time that the process has used, all threads, without its children."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def resident_mib(process_id: int) -> float:
    """Memory of the process that is in RAM now."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_MIB


def open_sockets(process_id: int) -> int:
    """How many sockets the process has open."""
    opened = Path(f"/proc/{process_id}/fd").iterdir()
    return sum(str(descriptor.readlink()).startswith("socket:") for descriptor in opened)


def child_named(process_id: int, program: str) -> int:
    """Process id of its one child that runs `program`. Raises LookupError."""
    for child in children_of(process_id):
        if Path(f"/proc/{child}/comm").read_text().strip() == program:
            return child
    raise LookupError(f"process {process_id} has no child that runs `{program}`")


def children_of(process_id: int) -> list[int]:
    """Process ids of what it started, and still runs."""
    listed = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(number) for thread in listed for number in thread.read_text().split()]


def command_line(process_id: int) -> list[str]:
    """The program and the arguments that it was started with."""
    return _strings(Path(f"/proc/{process_id}/cmdline"))


def environment(process_id: int) -> dict[str, str]:
    """The environment that it was started with."""
    entries = (entry.partition("=") for entry in _strings(Path(f"/proc/{process_id}/environ")))
    return {name: value for name, _, value in entries}


def cpu_model() -> str:
    """What the processor calls itself."""
    return _first_field(Path("/proc/cpuinfo"), "model name")


def memory_gib() -> float:
    """All memory of the machine."""
    return int(_first_field(Path("/proc/meminfo"), "MemTotal").split()[0]) / 2**20


def _strings(path: Path) -> list[str]:
    return path.read_text().removesuffix("\0").split("\0")


def _first_field(path: Path, name: str) -> str:
    fields = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for key, _, value in fields if key.strip() == name), "unknown")
