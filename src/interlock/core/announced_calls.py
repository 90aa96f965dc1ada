"""The calls of an approval, from the record of the decision that opened it: for a webhook that tells arguments."""

from collections.abc import Mapping
from typing import Any

from interlock.core.plan_conclusion import steps_of
from interlock.core.webhook_bodies import AnnouncedCall


def steps_decisions(fields: Mapping[str, Any]) -> dict[str, str]:
    """The decisions of a plan's steps, by the steps' names; none for a single call."""
    return {step["step"]: step["decision_id"] for step in steps_of(fields)}


def call_of(fields: Mapping[str, Any], step_id: str = "") -> AnnouncedCall:
    """The call that a decision's record states, its sensitive arguments concealed as they are there."""
    document = fields["input"]
    return AnnouncedCall(step_id=step_id, tool=document["tool"]["name"], arguments=document["arguments"])
