"""Giving credentials on the command line: each kind with the roles that it can have, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from interlock.cli.main import application
from interlock.core.identity import CallerKind

SETTINGS = """
environment = "test"
[service]
data_dir = "data"
catalog = ["catalog"]
policy.bundle = "bundle.tar.gz"
policy.verification_key = "policy.key"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "interlock.toml"
    file.write_text(SETTINGS)
    return file


def create(config: Path, *options: str) -> Result:
    given = ["credentials", "create", "--name=ann", "--tenant=acme", f"--config={config}", *options]
    return CliRunner().invoke(application, given)


def listed(config: Path) -> list[dict[str, Any]]:
    done = CliRunner().invoke(application, ["credentials", "list", f"--config={config}", "--json"])
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_an_approver_is_given_a_credential_of_its_own(config: Path) -> None:
    """A person who approves gets a credential of that kind, with the roles that say what and for whom (case 50)."""
    done = create(config, "--kind=approver", "--role=approver", "--role=delegate-of-bob", "--json")
    assert done.exit_code == 0
    made = json.loads(done.stdout)
    assert made["credential"].startswith("ilk_")
    assert (made["kind"], made["roles"]) == ("approver", ["approver", "delegate-of-bob"])
    [row] = listed(config)
    assert (row["credential_id"], row["kind"], row["name"]) == (made["credential_id"], "approver", "ann")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--kind=approver"], "an approver needs at least one role"),
        (["--kind=agent"], "an agent needs at least one role"),
        (["--kind=operator", "--role=approver"], "an operator may have the role `every-tenant` and no other"),
        *(
            ([f"--kind={kind}", "--role=approver"], "roles are for")
            for kind in ("gateway", "auditor", "user")
        ),
        (["--kind=approver", "--role=Approver"], "must be 1 to 64 characters"),
        (["--kind=reviewer", "--role=approver"], "approver"),
    ],
    ids=["approver", "agent", "operator", "gateway", "auditor", "user", "capitals", "no-kind"],
)
def test_roles_are_for_those_who_have_such(config: Path, options: list[str], says: str) -> None:
    """A credential that could do nothing, or seems to do more than it can, is not given, and it is said why."""
    done = create(config, *options)
    assert done.exit_code != 0
    assert says in (f"{done.exception} {done.output}")
    assert listed(config) == []


def test_every_kind_can_be_given(config: Path) -> None:
    """No kind of caller is without a way to its credential."""
    for kind in CallerKind:
        role = ["--role=a-role"] if kind in (CallerKind.AGENT, CallerKind.APPROVER) else []
        assert create(config, f"--kind={kind}", *role).exit_code == 0
    assert {row["kind"] for row in listed(config)} == set(CallerKind)
