"""The demo that a newcomer runs first."""

import subprocess
import sys
from pathlib import Path


def test_demo_plays_every_answer_and_verifies_its_log(project: Path, tmp_path: Path) -> None:
    """The demo shows each kind of answer on real parts, lets nothing through that must not run, and ends."""
    command = [sys.executable, "examples/demo/demo.py", "--folder", str(tmp_path / "demo")]
    played = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=240, check=False)
    assert played.returncode == 0, played.stderr
    told = [
        "ALLOW",
        "+hello, world",
        "ESCALATE",
        "approvals.denied",
        "permissions.tool_not_granted",
        "/max_count",
        "validation.unknown_tool",
        "TOKEN_ALREADY_REDEEMED",
        "CALL_MISMATCH",
        "STEP_NOT_DUE",
        "TOKEN_EXPIRED",
        "an MCP client calls git_status",
        "APPROVED",
        "Say goodbye",
        "TOKEN_FROZEN",
        "The decision log: verified: ",
    ]
    assert [text for text in told if text not in played.stdout] == []
    assert "MUST NOT HAPPEN" not in played.stdout
