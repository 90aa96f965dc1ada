"""Execution tokens for tests: all of a good one is given, and a test changes what it is about."""

from datetime import timedelta
from typing import Any

from interlock.core import token
from interlock.core.catalog import Tool
from interlock.core.token import ExpectedBy
from interlock.ports import TokenSigner
from tests.fakes import NOON

BEGIN = int(NOON.timestamp())

EXPECTED = ExpectedBy(
    audience="gateway-1",
    tenant="acme",
    environment="prod",
    issuer="https://interlock.example",
    leeway=timedelta(seconds=5),
)


def a_token(signer: TokenSigner, tool: Tool, args_digest: str, /, **changes: Any) -> str:
    """A token that EXPECTED takes at NOON, but for `changes` of its claims."""
    claims: dict[str, Any] = {
        "iss": EXPECTED.issuer,
        "aud": EXPECTED.audience,
        "sub": "agent-7",
        "act": {"sub": "agent-7"},
        "tenant": EXPECTED.tenant,
        "iat": BEGIN,
        "nbf": BEGIN,
        "exp": BEGIN + 30,
        "jti": "token-1",
        "txn": "session-1",
        "decision_id": "decision-1",
        "log_index": 41,
        "policy_rev": "revision-1",
        "tool": tool.name,
        "catalog_digest": tool.digest,
        "args_digest": args_digest,
        "obligations": [],
        "env": EXPECTED.environment,
    } | changes
    signed = token.signing_input(claims, signer.kid)
    return token.compact(signed, signer.sign(signed))
