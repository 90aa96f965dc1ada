"""Copies of the policies that ship, with what a measurement needs changed in their data, never in a rule."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from servers import POLICIES

TOPICS_OF_STATE = ("loops", "retries", "breakers", "budgets", "context")
"""The topics whose rules are about what the service measured."""


def with_role(folder: Path, role: str, *, tools: Sequence[str], effects: Sequence[str]) -> Path:
    """With a role, the only one, that grants these effects with these tools."""
    policies = _copy(folder)
    (policies / "roles" / "data.yaml").write_text(
        yaml.safe_dump({role: {"tools": [*tools], "effects": [*effects]}})
    )
    return policies


def for_load(folder: Path, *, of_state: bool) -> Path:
    """With limits that a load generator keeps; without the topics of state where not `of_state`.

    It proposes far more for each agent than an agent does, and nobody reports outcomes, so that calls seem to go
    on until their time is over. Every rule is evaluated as before, and every reservation taken.
    """
    policies = _copy(folder)
    raised = {"calls_an_hour": 10_000_000, "calls_a_minute": 600_000, "calls_in_a_burst": 100_000}
    _change_limits(policies, {"budgets": {"agent": {**raised, "calls_at_once": 100_000}}})
    if not of_state:
        for topic in TOPICS_OF_STATE:
            shutil.rmtree(policies / "rules" / topic)
    return policies


def for_many_approvals(folder: Path) -> Path:
    """With limits that a load generator keeps, also in how many approvals wait at once."""
    policies = for_load(folder, of_state=True)
    _change_limits(
        policies, {"approvals": {"pending": dict.fromkeys(("agent", "agent_an_hour", "tenant"), 100_000)}}
    )
    return policies


def for_one_agent(folder: Path, role: str, *, tools: Sequence[str], effects: Sequence[str]) -> Path:
    """With a role, the only one, whose one agent may repeat itself in one session as often as it is measured."""
    policies = with_role(folder, role, tools=tools, effects=effects)
    file = policies / "limits" / "data.yaml"
    limits: dict[str, Any] = yaml.safe_load(file.read_text())
    for topic in ("loops", "budgets"):
        for group in limits[topic].values():
            group.update({name: 1_000_000 for name in group if name != "depth"})
    file.write_text(yaml.safe_dump(limits))
    return policies


def _copy(folder: Path) -> Path:
    policies = folder / "policies"
    shutil.copytree(POLICIES, policies)
    return policies


def _change_limits(policies: Path, changes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    file = policies / "limits" / "data.yaml"
    limits: dict[str, Any] = yaml.safe_load(file.read_text())
    for topic, groups in changes.items():
        for group, values in groups.items():
            unknown = values.keys() - limits[topic][group].keys()
            assert not unknown, f"there are no limits {unknown}"
            limits[topic][group].update(values)
    file.write_text(yaml.safe_dump(limits))
