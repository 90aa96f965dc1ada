"""Terms of standing approvals, and a policy that lets through what one is for."""

from dataclasses import replace
from typing import Any

from interlock.core.canonical import canonicalize
from interlock.core.decision import Evaluated
from interlock.core.policy_input import PolicyInput
from interlock.core.standing import StandingQuery, StandingTerms
from tests.proposals import an_answer

EVERY_ONE = StandingQuery(agent="", page_size=0, page_token="")
"""The first page of all that holds for the tenant."""

IN_DOCS: dict[str, Any] = {"repo_path": {"type": "string", "pattern": "^docs/[a-z]{1,9}$"}}


def terms(
    properties: dict[str, Any] | None = None,
    *,
    count: int = 2,
    life_seconds: int = 600,
    this_session: bool = False,
    **changes: Any,
) -> StandingTerms:
    """Reading the history of folders in `docs`, unless other arguments are asked for."""
    members = IN_DOCS if properties is None else properties
    schema: dict[str, Any] = {
        "type": "object",
        "properties": members,
        "required": sorted(members),
        "additionalProperties": False,
    }
    made = StandingTerms(
        arguments_schema_json=canonicalize(schema),
        count=count,
        life_seconds=life_seconds,
        this_session=this_session,
    )
    return replace(made, **changes)


def answers_standing(document: PolicyInput) -> Evaluated:
    """As the stock policy: each call needs a person, who has said yes to it, or to the like of it."""
    if approval := document["approval"]:
        return an_answer("allow" if approval["state"] == "approved" else "deny")
    if standing := document["facts"]["standing"]:
        return an_answer(
            "allow", reservations=[{"type": "standing", "standing_id": standing[0]["standing_id"]}]
        )
    return an_answer("escalate")
