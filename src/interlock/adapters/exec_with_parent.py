"""Run as a script: becomes the program in its arguments, which then ends with the process that started it.

    python -I -S exec_with_parent.py PARENT_PROCESS_ID ADDRESS_SPACE_BYTES PROGRAM [ARGUMENT ...]

An address space of 0 bytes stands for no limit. The process id stays the same. Other systems than Linux can be
asked neither for this end nor for this limit: there it only becomes the program.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); it outlives execve(2)


def main(parent: str, address_space: str, program: str, *arguments: str) -> None:
    """Become `program`, with SIGKILL to come when the parent ends, in whichever way (also by SIGKILL)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the parent ended before its child began")
        if int(address_space):
            _limit_address_space(int(address_space))
    os.environ.pop("LC_CTYPE", None)  # Python sets it for itself where no locale is given (PEP 538)
    try:
        os.execv(program, [program, *arguments])  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"`{program}` cannot be run: {error.strerror}")


def _limit_address_space(wanted: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(*sys.argv[1:])
