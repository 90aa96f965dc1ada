"""The input document is total: whatever is proposed, every field that a rule may read is there."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest

from interlock.core import conclusion
from interlock.core.canonical import canonicalize, parse_canonical
from interlock.core.catalog import CatalogFile, build_catalog
from interlock.core.cells import Cells
from interlock.core.identity import Caller, CallerKind
from interlock.core.normalize import normalize
from interlock.core.observing import NO_PARENT, Observe
from interlock.core.policy_input import input_schema
from interlock.core.proposal import Context, MemoryRead, RawProposal, Source, SourceTrust
from tests.fakes import no_files
from tests.proposals import MEASURING

NOW = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
CATALOG = build_catalog(
    [
        CatalogFile.model_validate(
            {
                "gateway": "gateway-1",
                "server": "files",
                "tools": [
                    {
                        "name": "read",
                        "effects": ["read", "send"],
                        "labels": {"team": "infra"},
                        "cost": 7,
                        "reversibility": "irreversible",
                        "arguments": {"properties": {"path": {"type": "string"}}},
                        "sensitive": ["/token"],
                    }
                ],
            }
        )
    ]
)
FULL = Context(
    sources=(Source(kind="web", reference="https://a.example", trust=SourceTrust.UNTRUSTED),),
    memory_reads=(MemoryRead(key="plan", version=3, digest="d"),),
    state_digest="s",
)


def document(tool: str, arguments: bytes, context: Context) -> dict[str, Any]:
    raw = RawProposal(
        caller=Caller(
            kind=CallerKind.AGENT, tenant="acme", name="agent-7", roles=("dev", "ops"), credential_id="c"
        ),
        request_id="request-1",
        session_id="session-1",
        parent_decision_id="",
        goal="",
        tool=tool,
        arguments_json=arguments,
        context=context,
    )
    proposal = normalize(raw, CATALOG, lambda _: "concealed", no_files)
    observation = Observe(proposal, NO_PARENT, at=NOW, measuring=MEASURING)
    observed = observation.run(Cells(dict.fromkeys(observation.keys, b"")))
    made = conclusion.policy_input(proposal, observed, NOW)
    return parse_canonical(canonicalize(made))


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that says which properties there are."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)


def test_every_field_is_required_and_no_other_is_known() -> None:
    """No rule can be switched off by a field that is left out, nor read one that is not told of."""
    parts = list(objects(input_schema()))
    assert len(parts) == 30
    for part in parts:
        assert set(part["required"]) == set(part["properties"])
        assert part["additionalProperties"] is False


@pytest.mark.parametrize("context", [Context(), FULL], ids=["empty", "full"])
@pytest.mark.parametrize("arguments", [b"{}", b'{"path":"a","token":"t"}', b'{"path":1}'])
@pytest.mark.parametrize("tool", ["read", "unknown"])
def test_every_document_meets_the_schema(tool: str, arguments: bytes, context: Context) -> None:
    """What is built for a known or unknown tool, good or bad arguments, is exactly what the schema tells."""
    jsonschema_rs.validate(input_schema(), document(tool, arguments, context))


def test_the_document_of_a_known_tool() -> None:
    """Subject from the credential, tool from the catalog, the agent's word under context, the service's clock."""
    tool = CATALOG.tools["read"]
    made = document("read", b'{"path":"a","token":"t"}', FULL)
    assert made == {
        "subject": {"tenant": "acme", "agent": "agent-7", "user": "", "roles": ["dev", "ops"]},
        "tool": {
            "name": "read",
            "known": True,
            "digest": tool.digest,
            "gateway": "gateway-1",
            "effects": ["read", "send"],
            "labels": {"team": "infra"},
            "cost": 7,
            "results": "untrusted",
            "reversibility": "irreversible",
        },
        "arguments": {"path": "a", "token": {"concealed": "concealed"}},
        "arguments_digest": made["arguments_digest"],
        "facts": made["facts"],
        "context": {
            "session_id": "session-1",
            "parent_decision_id": "",
            "operation": "",
            "goal": "",
            "sources": [{"kind": "web", "reference": "https://a.example", "trust": "untrusted"}],
            "memory_reads": [{"key": "plan", "version": 3, "digest": "d"}],
            "state_digest": "s",
        },
        "destinations": [],
        "plan": None,
        "approval": None,
        "time": {"now": "2026-03-01T12:00:00.000005Z", "unix": 1772366400},
    }


def test_the_document_of_an_unknown_tool() -> None:
    """A tool that the catalog does not have has no effects, no gateway, and a violation that says so."""
    made = document("unknown", b"{}", Context())
    assert made["tool"] == {
        "name": "unknown",
        "known": False,
        "digest": "",
        "gateway": "",
        "effects": [],
        "labels": {},
        "cost": 0,
        "results": "untrusted",
        "reversibility": "unknown",
    }
    assert [violation["code"] for violation in made["facts"]["violations"]] == ["unknown_tool"]


def test_a_broken_schema_rule_is_a_fact() -> None:
    """Each violation of the tool's schema reaches the policy with place and rule."""
    assert document("read", b'{"path":1}', Context())["facts"]["violations"] == [
        {"code": "schema", "path": "/path", "rule": "type", "message": 'the value is not of type "string"'}
    ]
