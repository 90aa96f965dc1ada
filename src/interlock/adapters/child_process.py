"""Child processes that do not outlive us."""

import os
import sys

from interlock.adapters import exec_with_parent


def ends_with_us(*, address_space_bytes: int = 0) -> list[str]:
    """Prefix of a command whose program is given by its path: the kernel ends it with us, also at kill -9.

    `address_space_bytes` limits what it may map; 0 sets no limit.
    """
    script = exec_with_parent.__file__
    return [sys.executable, "-I", "-S", script, str(os.getpid()), str(address_space_bytes)]
