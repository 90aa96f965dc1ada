"""Parts that tests of several kinds share: the real OPA, and the project's folders."""

import os
import shutil
from pathlib import Path

import pytest

from interlock.adapters.opa_binary import find_opa

_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return _ROOT


@pytest.fixture(scope="session")
def policies(project: Path) -> Path:
    """The policies that ship."""
    return project / "policies"


@pytest.fixture(scope="session")
def opa(project: Path) -> Path:
    """The real OPA. `tools/install-opa` builds one where there is none."""
    return find_opa(os.environ, shutil.which, project / ".tools")
