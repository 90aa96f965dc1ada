"""Reading the decision log on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from interlock.cli.main import application
from interlock.core.record import RecordType
from tests.drafts import a_draft, open_log
from tests.unit.cli.test_credentials import SETTINGS

APPROVAL = {
    "approval_id": "approval-1",
    "change": "approve",
    "comment": "looked at it",
    "requested_by": "approver/alice",
    "tool": "git_commit",
}


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """The settings of a service whose log has the story of an approval, and other records."""
    file = tmp_path / "interlock.toml"
    file.write_text(SETTINGS)
    (tmp_path / "data").mkdir()
    async with open_log(tmp_path / "data" / "interlock.db") as log:
        await log.append(
            [
                a_draft(0, fields={"approval_id": "approval-1"}),
                a_draft(1, fields={"approval_id": "approval-2"}),
                a_draft(2, type=RecordType.APPROVAL, decision_id="decision-0", fields=APPROVAL),
                a_draft(3, fields={"follows": "approval-1"}),
                a_draft(4, type=RecordType.OUTCOME, decision_id="decision-1", fields={}),
                a_draft(5, type=RecordType.OUTCOME, decision_id="decision-3", fields={}),
            ]
        )
    return file


def listed(config: Path, *options: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(application, ["log", "list", f"--config={config}", "--json", *options])
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.mark.parametrize(
    ("options", "places"),
    [
        (["--approval=approval-1"], [0, 2, 3, 5]),
        (["--approval=approval-1", "--type=outcome"], [5]),
        (["--approval=approval-1", "--decision-id=decision-0"], [0, 2]),
        (["--approval=approval-1", "--limit=2"], [0, 2]),
        (["--approval=approval-1", "--tenant=other"], []),
        (["--approval=approval-3"], []),
        (["--type=approval"], [2]),
    ],
    ids=str,
)
def test_a_log_is_read_by_approval(config: Path, options: list[str], places: list[int]) -> None:
    """An auditor sees all that is of an approval with one command, and other conditions narrow it further."""
    assert [record["log_index"] for record in listed(config, *options)] == places
    if places == [2]:
        done = CliRunner().invoke(application, ["log", "list", f"--config={config}", *options])
        assert "approver/alice" in done.stdout
        assert "git_commit" in done.stdout
