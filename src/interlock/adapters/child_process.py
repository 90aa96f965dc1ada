"""Child processes that do not outlive us."""

import shutil


def die_with_parent() -> list[str]:
    """Prefix of a command: the kernel ends the child with us, also at kill -9, where util-linux can ask for it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
