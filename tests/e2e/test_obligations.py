"""Obligations end to end: policies ask, the service knows what the gateway can, and the gateway does it."""

import json
from pathlib import Path

from interlock.core.record import RecordType
from interlock.core.tool_listing import listed_digest
from tests.e2e.processes import wait_until
from tests.e2e.world import World

SECRET = "correct-horse-battery-staple"

_ENVIRONMENT = {
    "name": "environment",
    "arguments": {"type": "object"},
    "effects": ["read"],
    "labels": {"redact": "all"},
    "listed_digest": listed_digest({"name": "environment", "inputSchema": {"type": "object"}}),
}
_CURIOUS = """
curious:
  tools: [environment]
  effects: [read]
"""


def with_environment(world: World) -> World:
    """The server's environment holds a secret, which a tool tells whoever has the role `curious`."""
    world.settings["gateway"]["servers"]["odd"]["env"] = {"API_TOKEN": SECRET, "PLACE": "sunny"}
    catalog = json.loads((world.folder / "odd.yaml").read_text())
    catalog["tools"].append(_ENVIRONMENT)
    (world.folder / "odd.yaml").write_text(json.dumps(catalog))
    with (world.folder / "policies" / "roles" / "data.yaml").open("a") as roles:
        roles.write(_CURIOUS)
    return world


def written(folder: Path) -> dict[str, bytes]:
    """All that the processes wrote."""
    data = [path for part in ("service", "gateway") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in [*data, *folder.glob("*.out"), *folder.glob("*.err")]}


def test_a_labelled_tool_is_redacted_once_its_gateway_is_there(own_world: World) -> None:
    """A gateway never heard of gets no token; then the tool runs, and its secret is nowhere but at its server."""
    world = with_environment(own_world)
    world.start_service()
    denied = world.agent("curious").decide("environment", {})
    assert (denied.verdict, [reason.code for reason in denied.reasons]) == (
        "deny",
        ["obligations.unsupported"],
    )

    world.start_gateway()
    done = world.agent("curious").run("environment", {})
    assert done.execution
    assert done.execution.result["structuredContent"]["API_TOKEN"] == "[redacted]"
    assert done.execution.result["structuredContent"]["PLACE"] == "sunny"
    told = {result.type: result.detail for result in done.execution.obligation_results}
    assert told == {"timeout": "limited to 30 s", "redact_result": told["redact_result"]}
    assert told["redact_result"].endswith(" redacted")

    wait_until(lambda: world.outcomes_of(done.decision.decision_id) == ["succeeded"])
    [outcome] = world.records(RecordType.OUTCOME)
    assert {result["type"]: result["detail"] for result in outcome["obligation_results"]} == told
    assert world.gateway.end() == 0
    assert world.service.end() == 0
    assert [name for name, data in written(world.folder).items() if SECRET.encode() in data] == []


def test_who_rehearses_runs_nothing(own_world: World) -> None:
    """With the role `rehearsal`, an agent hears what it would have done, and the server hears nothing."""
    world = own_world.start()
    agent = world.client(world.credential("agent", "coder", "tester", "rehearsal"))
    done = agent.run("echo", {"text": "hello"})
    assert done.execution
    assert (done.execution.outcome, done.execution.result["dry_run"]) == ("succeeded", True)
    assert done.execution.result["tool"] == "echo"
    assert "echo" not in world.journal.read_text()
