"""Which OPA is used."""

import os
import shutil
from pathlib import Path

from interlock.adapters.opa_binary import find_opa

TOOLS_FOLDER = Path(".tools")


def locate_opa() -> Path:
    """INTERLOCK_OPA, else the PATH, else the tools folder here. Raises OpaError, with what to do."""
    return find_opa(os.environ, shutil.which, TOOLS_FOLDER)
