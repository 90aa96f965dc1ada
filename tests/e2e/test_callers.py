"""Who may ask what: the credential alone says, and every kind of caller has its own methods."""

import grpc
import pytest

from interlock.client import Interlock, InterlockCallError
from interlock.v1 import audit_service_pb2, control_service_pb2, decision_service_pb2, outcome_pb2
from tests.e2e.processes import wait_until
from tests.e2e.wire import Metadata, a_request, bearer, refused, send
from tests.e2e.world import GATEWAY, World

DECIDE = "DecisionService/Decide"
REPORT = "DecisionService/ReportOutcome"
LIST = "AuditService/ListRecords"
GET = "AuditService/GetRecord"
START = "DecisionService/StartSession"
SHOW = "DecisionService/GetSession"
STEPS = "DecisionService/RecordSteps"

ATTEND, FREEZE, UNFREEZE, FREEZES = (
    f"ControlService/{method}" for method in ("Attend", "Freeze", "Unfreeze", "ListFreezes")
)

REQUESTS = {
    DECIDE: a_request(request_id="whoever-asks").SerializeToString(),
    "DecisionService/DecideBatch": decision_service_pb2.DecideBatchRequest(
        requests=[a_request(request_id="whoever-asks")]
    ).SerializeToString(),
    REPORT: decision_service_pb2.ReportOutcomeRequest(
        execution_id="execution-1",
        decision_id="decision-1",
        token_id="token-1",
        outcome=outcome_pb2.OUTCOME_SUCCEEDED,
    ).SerializeToString(),
    LIST: audit_service_pb2.ListRecordsRequest().SerializeToString(),
    GET: audit_service_pb2.GetRecordRequest(log_index=0).SerializeToString(),
    START: decision_service_pb2.StartSessionRequest(session_id="whoevers").SerializeToString(),
    SHOW: decision_service_pb2.GetSessionRequest(session_id="whoevers").SerializeToString(),
    STEPS: decision_service_pb2.RecordStepsRequest(session_id="whoevers").SerializeToString(),
    ATTEND: control_service_pb2.AttendRequest().SerializeToString(),
    FREEZE: control_service_pb2.FreezeRequest(
        scope=control_service_pb2.FREEZE_SCOPE_TENANT
    ).SerializeToString(),
    UNFREEZE: control_service_pb2.UnfreezeRequest(
        scope=control_service_pb2.FREEZE_SCOPE_TENANT
    ).SerializeToString(),
    FREEZES: control_service_pb2.ListFreezesRequest().SerializeToString(),
}


@pytest.fixture(scope="module")
def channel(world: World) -> grpc.Channel:
    """A bare channel to the decision service."""
    return world.channel()


@pytest.fixture(scope="module")
def credentials(world: World) -> dict[str, str]:
    """A credential of each kind."""
    return {
        "agent": world.credential("agent", "coder", "tester"),
        "gateway": world.credential("gateway", "another-gateway"),
        "auditor": world.credential("auditor", "auditor"),
        "user": world.credential("user", "ann"),
        "operator": world.credential("operator", "officer"),
    }


@pytest.mark.parametrize("method", REQUESTS)
def test_nothing_is_answered_without_a_credential(channel: grpc.Channel, method: str) -> None:
    """Every method of the decision service asks for a credential first (invariant 6)."""
    error = refused(channel, method, REQUESTS[method])
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer ilk_0123456789abcdef_" + "x" * 43,
        "Bearer nonsense",
        "Basic aWxrOmlsaw==",
        "ilk_0123456789abcdef_" + "x" * 43,
    ],
    ids=["unknown", "nonsense", "another scheme", "no scheme"],
)
def test_a_wrong_credential_is_refused(channel: grpc.Channel, authorization: str) -> None:
    """A credential that nobody was given is UNAUTHENTICATED, whatever is wrong with it (invariant 6)."""
    error = refused(channel, DECIDE, REQUESTS[DECIDE], (("authorization", authorization),))
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")


def test_a_wrong_secret_is_refused(channel: grpc.Channel, credentials: dict[str, str]) -> None:
    """The right identifier with another secret proves nothing (invariant 6)."""
    credential = credentials["agent"]
    wrong = credential[:-1] + ("A" if credential[-1] != "A" else "B")
    assert refused(channel, DECIDE, REQUESTS[DECIDE], bearer(wrong)).reason == "CREDENTIAL_INVALID"


def test_two_credentials_are_none(channel: grpc.Channel, credentials: dict[str, str]) -> None:
    """Two authorization headers are refused, also where both are the same: no one picks for the caller (case 54)."""
    one, other = bearer(credentials["agent"]), bearer(credentials["auditor"])
    for metadata in (one + other, other + one, one + one):
        assert refused(channel, DECIDE, REQUESTS[DECIDE], metadata).code == "UNAUTHENTICATED"


def test_a_revoked_credential_is_refused(world: World, channel: grpc.Channel) -> None:
    """A credential that an operator revokes ends while the service runs (invariant 6)."""
    credential = world.credential("agent", "leaver", "tester")
    data = a_request(request_id="before-the-end").SerializeToString()
    assert send(channel, DECIDE, data, bearer(credential))
    revoked = world.interlock("credentials", "revoke", credential.split("_")[1])
    assert revoked.returncode == 0, revoked.stderr
    # What was found is remembered for a second.
    wait_until(lambda: not taken(channel, data, bearer(credential)))
    error = refused(channel, DECIDE, data, bearer(credential))
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")


def taken(channel: grpc.Channel, data: bytes, metadata: Metadata) -> bool:
    try:
        send(channel, DECIDE, data, metadata)
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("agent", LIST),
        ("agent", GET),
        ("agent", REPORT),
        ("gateway", DECIDE),
        ("gateway", "DecisionService/DecideBatch"),
        ("gateway", LIST),
        ("gateway", GET),
        ("auditor", DECIDE),
        ("auditor", "DecisionService/DecideBatch"),
        ("auditor", REPORT),
        ("auditor", START),
        ("auditor", STEPS),
        ("gateway", START),
        ("gateway", SHOW),
        ("gateway", STEPS),
        ("user", DECIDE),
        ("user", "DecisionService/DecideBatch"),
        ("user", REPORT),
        ("user", STEPS),
        ("user", LIST),
        ("user", GET),
        *(("operator", method) for method in (DECIDE, REPORT, LIST, GET, START, SHOW, STEPS, ATTEND)),
        *((kind, FREEZE) for kind in ("agent", "gateway", "auditor", "user")),
        *((kind, UNFREEZE) for kind in ("agent", "gateway", "auditor", "user")),
        *((kind, FREEZES) for kind in ("agent", "gateway", "user")),
        *((kind, ATTEND) for kind in ("agent", "auditor", "user")),
    ],
)
def test_each_kind_of_caller_has_its_own_methods(
    channel: grpc.Channel, credentials: dict[str, str], kind: str, method: str
) -> None:
    """No credential decides, acts and audits: another kind's method is PERMISSION_DENIED (invariants 5 and 6)."""
    error = refused(channel, method, REQUESTS[method], bearer(credentials[kind]))
    assert (error.code, error.reason) == ("PERMISSION_DENIED", "CALLER_NOT_PERMITTED")


def test_the_record_names_who_the_credential_names(tester: Interlock, auditor: Interlock) -> None:
    """Tenant, agent and roles on record are the credential's (invariant 6)."""
    decision = tester.decide("echo", {"tenant": "other", "agent": "somebody-else"})
    recorded = auditor.record(decision.log_index).content
    assert recorded["input"]["subject"] == {
        "tenant": "acme",
        "agent": "tester",
        "user": "",
        "roles": ["tester"],
    }
    assert recorded["requested_by"] == "agent/tester"


def test_an_auditor_sees_the_own_tenant_only(world: World, tester: Interlock, auditor: Interlock) -> None:
    """Neither list nor get shows another tenant's record, and not whether it is there (case 54)."""
    other_agent, other_auditor = world.agent(tenant="umbrella"), world.auditor(tenant="umbrella")
    ours, theirs = tester.decide("echo", {}), other_agent.decide("echo", {})
    assert {record.tenant for record in auditor.records()} == {"acme", ""}
    assert {record.tenant for record in other_auditor.records()} == {"umbrella", ""}
    assert list(auditor.records(decision_id=theirs.decision_id)) == []
    for reader, log_index in ((auditor, theirs.log_index), (other_auditor, ours.log_index), (auditor, 10**9)):
        with pytest.raises(InterlockCallError) as caught:
            reader.record(log_index)
        assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "RECORD_NOT_FOUND")


def test_a_page_token_is_for_its_tenant_and_filter(
    world: World, channel: grpc.Channel, tester: Interlock
) -> None:
    """A page token of another auditor, of another filter, or made up is refused (case 54)."""
    ours = bearer(world.credential("auditor", "first"))
    theirs = bearer(world.credential("auditor", "second", tenant="umbrella"))
    for _ in range(3):
        tester.decide("echo", {})
    page = audit_service_pb2.ListRecordsResponse.FromString(send(channel, LIST, _page(), ours))
    assert send(channel, LIST, _page(page.next_page_token), ours)
    for metadata, data in (
        (theirs, _page(page.next_page_token)),
        (ours, _page(page.next_page_token, decision_id="decision-1")),
        (ours, _page("1.made-up")),
    ):
        error = refused(channel, LIST, data, metadata)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")


def _page(token: str = "", decision_id: str = "") -> bytes:
    request = audit_service_pb2.ListRecordsRequest(page_size=2, page_token=token, decision_id=decision_id)
    return request.SerializeToString()


def test_one_agents_request_ids_are_not_anothers(world: World, tester: Interlock) -> None:
    """The same request_id of another agent or tenant is another request (case 54, invariant 9)."""
    ours = tester.decide("echo", {}, request_id="shared-name")
    for other in (world.agent(name="another"), world.agent(name="tester", tenant="umbrella")):
        theirs = other.decide("echo", {"other": True}, request_id="shared-name")
        assert theirs.decision_id != ours.decision_id


def test_no_gateway_reports_for_another(world: World, channel: grpc.Channel, tester: Interlock) -> None:
    """An outcome of a token that is for another gateway or tenant is not taken (case 54, invariant 5)."""
    decision = tester.decide("echo", {})
    report = decision_service_pb2.ReportOutcomeRequest(
        execution_id="execution-1",
        decision_id=decision.decision_id,
        token_id="token-1",
        outcome=outcome_pb2.OUTCOME_SUCCEEDED,
    ).SerializeToString()
    for name, tenant in (("another-gateway", "acme"), (GATEWAY, "umbrella"), (GATEWAY, "acme")):
        gateway = bearer(world.credential("gateway", name, tenant=tenant))
        assert refused(channel, REPORT, report, gateway).reason == "DECISION_NOT_FOUND"
    assert world.outcomes_of(decision.decision_id) == []


def test_a_token_of_another_tenant_is_not_run(world: World) -> None:
    """A gateway runs its own tenant's tokens only (cases 38 and 54)."""
    decision = world.agent(tenant="umbrella").decide("echo", {})
    with pytest.raises(InterlockCallError) as caught:
        world.agent().execute(decision, "echo", {})
    assert caught.value.reason == "TOKEN_NOT_FOR_THIS_GATEWAY"
