"""Writes what is generated for the policies: `policies/schemas/input.json` and `docs/reason-codes.md`."""

import os
import shutil
from pathlib import Path

from interlock.adapters.opa_binary import find_opa
from interlock.adapters.policy_check import (
    APPROVAL_SCHEMA,
    INPUT_SCHEMA,
    render_approval_schema,
    render_input_schema,
)
from interlock.adapters.policy_docs import render_reason_codes
from interlock.adapters.policy_rules import read_modules


def main() -> None:
    """Write both files under the project's root, in place of what was there."""
    root = Path(__file__).resolve().parent.parent
    opa = find_opa(os.environ, shutil.which, root / ".tools")
    policies = root / "policies"
    _write(policies / INPUT_SCHEMA, render_input_schema())
    _write(policies / APPROVAL_SCHEMA, render_approval_schema())
    _write(root / "docs" / "reason-codes.md", render_reason_codes(read_modules(opa, policies)))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
