"""Freezes, operators and tokens for tests of what stops what."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from interlock.core.freeze import Freeze, FreezeScope, FreezeTarget
from interlock.core.identity import EVERY_TENANT, CallerKind
from interlock.core.moments import from_microseconds
from interlock.core.token import Claims
from tests.fakes import NOON
from tests.proposals import AGENT
from tests.tokens import BEGIN

MOMENTS = st.integers(0, 4 * 10**15).map(from_microseconds)
"""Times that a cell keeps, from 1970 to 2096."""

OPERATOR = replace(AGENT, kind=CallerKind.OPERATOR, name="officer", roles=())
OVERSEER = replace(OPERATOR, roles=(EVERY_TENANT,))

ALL = FreezeTarget(scope=FreezeScope.ALL)
TENANT = FreezeTarget(scope=FreezeScope.TENANT, tenant=AGENT.tenant)
THE_AGENT = FreezeTarget(scope=FreezeScope.AGENT, tenant=AGENT.tenant, name=AGENT.name)
THE_TOOL = FreezeTarget(scope=FreezeScope.TOOL, tenant=AGENT.tenant, name="git_log")
TARGETS = (ALL, TENANT, THE_AGENT, THE_TOOL)
"""All that can be frozen and covers a call of AGENT to `git_log`."""


def a_freeze(target: FreezeTarget = THE_AGENT, **changes: Any) -> Freeze:
    """A freeze that lasts; `changes` replace its fields."""
    stated: dict[str, Any] = {
        "log_index": 50,
        "scope": target.scope,
        "tenant": target.tenant,
        "name": target.name,
        "comment": "it runs away",
        "start_time": NOON,
    }
    return Freeze(**(stated | changes))


def ended(freeze: Freeze, after: timedelta = timedelta(minutes=1)) -> Freeze:
    """The same, ended so long after it began."""
    return replace(freeze, end_time=freeze.start_time + after)


def claims_of(log_index: int, **changes: Any) -> Claims:
    """The claims of a token of AGENT's for `git_log`, of the decision in this place."""
    digest = "A" * 43
    stated: dict[str, Any] = {
        "iss": "https://interlock.example",
        "aud": "gateway-1",
        "sub": AGENT.name,
        "act": {"sub": AGENT.name},
        "tenant": AGENT.tenant,
        "iat": BEGIN,
        "nbf": BEGIN,
        "exp": BEGIN + 60,
        "jti": f"token-{log_index}",
        "txn": "session-1",
        "decision_id": f"decision-{log_index}",
        "log_index": log_index,
        "policy_rev": "revision-1",
        "tool": "git_log",
        "catalog_digest": digest,
        "args_digest": digest,
        "obligations": [],
        "env": "test",
    }
    return Claims.model_validate(stated | changes)
