"""A policy that changes: the verdict follows the policy, and what was decided stays what it was."""

from interlock.client import Verdict
from interlock.core import token
from interlock.core.record import RecordType
from tests.e2e.world import World

GRANT, NO_GRANT = "  effects: [read]", "  effects: []"


def test_an_edited_policy_changes_the_verdict_and_nothing_else(own_world: World) -> None:
    """An edit of policy data turns an allow into an escalate with no change of code (invariant 4).

    What the replaced policy allowed stays on record as its decision, with a token that names it and that lives
    a minute at most (case 12, invariants 7 and 9).
    """
    service = own_world.start_service()
    credential = own_world.credential("agent", "coder", "tester")
    before = own_world.client(credential, session_id="session-1").decide("echo", {}, request_id="before")
    assert before.verdict == Verdict.ALLOW
    assert service.end() == 0

    roles = own_world.folder / "policies" / "roles" / "data.yaml"
    stock, _, tester = roles.read_text().rpartition("tester:")
    roles.write_text(f"{stock}tester:{tester.replace(GRANT, NO_GRANT)}")
    own_world.start_service()
    client = own_world.client(credential, session_id="session-1")
    after = client.decide("echo", {}, request_id="after")
    assert after.verdict == Verdict.ESCALATE
    assert after.policy_revision != before.policy_revision

    assert client.decide("echo", {}, request_id="before") == before
    _, claims = token.inspect(before.execution_token)
    assert claims["policy_rev"] == before.policy_revision
    assert claims["exp"] - claims["iat"] <= 60
    active = [record["revision"] for record in own_world.records(RecordType.POLICY_ACTIVATION)]
    assert active == [before.policy_revision, after.policy_revision]
