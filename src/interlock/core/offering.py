"""What the policy is asked about a tool that may be listed: a first call of it, of which nothing was measured yet."""

from datetime import datetime

from interlock.core.canonical import digest_of
from interlock.core.catalog import Catalog, Tool
from interlock.core.cells import Cells
from interlock.core.conclusion import policy_input
from interlock.core.identity import Caller
from interlock.core.observing import NO_PARENT, Observe
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Context, Proposal
from interlock.core.session import Measuring


def tools_of(catalog: Catalog, gateway: str) -> list[Tool]:
    """The tools of this gateway, of all gateways for an empty name, in alphabetical order."""
    return [tool for _, tool in sorted(catalog.tools.items()) if gateway in ("", tool.gateway)]


def listing_input(tool: Tool, caller: Caller, *, at: datetime, measuring: Measuring) -> PolicyInput:
    """The input document of a first call of the tool without arguments, which nobody makes; total as any other."""
    proposal = Proposal(
        caller=caller,
        request_id="",
        session_id="",
        parent_decision_id="",
        goal="",
        context=Context(),
        tool_name=tool.name,
        tool=tool,
        disclosed_arguments={},
        arguments_digest=digest_of({}),
        violations=(),
        payload_digest="",
    )
    observe = Observe(proposal, NO_PARENT, at=at, measuring=measuring)
    return policy_input(proposal, observe.run(Cells(dict.fromkeys(observe.keys, b""))), at)
