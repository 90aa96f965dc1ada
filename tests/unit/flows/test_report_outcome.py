"""What a gateway did comes on record once, and only of its own tokens."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from interlock.core import record as records
from interlock.core.conclusion import conclude, policy_input
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.observing import Observed
from interlock.core.outcome import Finding, ObligationResult, Outcome, OutcomeKind, Reconciliation
from interlock.core.record import Record, RecordType
from interlock.flows.report_outcome import Reporting, report_outcome
from tests.fakes import NOON, MemoryDecisionLog, SettableClock
from tests.policy_inputs import quiet_facts
from tests.proposals import GATEWAY, MEASURING, TERMS, a_proposal, an_answer

OUTCOME = Outcome(
    execution_id="execution-1",
    decision_id="decision-1",
    token_id="token-1",
    kind=OutcomeKind.SUCCEEDED,
    result_digest="d" * 43,
    refusal="",
    start_time=NOON + timedelta(seconds=1),
    end_time=NOON + timedelta(seconds=2, microseconds=5),
)
OBSERVED = Observed(facts=quiet_facts(), user="", state_digest="", to_mark=())
LATER = NOON + timedelta(minutes=1)


@pytest.fixture
async def log() -> MemoryDecisionLog:
    """A log with an allow, `decision-1` with `token-1`, and a deny, `decision-2`."""
    log = MemoryDecisionLog()
    for number, verdict in ((1, "allow"), (2, "deny")):
        proposal = a_proposal(f"request-{number}")
        draft = conclude(
            proposal,
            OBSERVED,
            policy_input(proposal, OBSERVED, NOON),
            an_answer(verdict),
            decision_id=f"decision-{number}",
            token_id=f"token-{number}",
            kid="key-1",
            terms=TERMS,
            now=NOON,
        )
        await log.append([draft])
    return log


async def report(log: MemoryDecisionLog, caller: Caller = GATEWAY, **changes: Any) -> Record:
    reporting = Reporting(reader=log, log=log, clock=SettableClock(LATER), measuring=MEASURING)
    return await report_outcome(replace(OUTCOME, **changes), caller, reporting)


async def test_an_outcome_comes_on_record(log: MemoryDecisionLog) -> None:
    """The record says what happened, of which decision and token, when, and which gateway says so."""
    recorded = await report(log)
    assert log.records[2:] == [recorded]
    assert recorded.type is RecordType.OUTCOME
    assert (recorded.tenant, recorded.decision_id, recorded.timestamp) == ("acme", "decision-1", LATER)
    stated = records.fields(recorded)
    told = {
        name: stated[name]
        for name in ("execution_id", "jti", "outcome", "refusal", "result_digest", "end_time")
    }
    assert told == {
        "execution_id": "execution-1",
        "jti": "token-1",
        "outcome": "succeeded",
        "refusal": "",
        "result_digest": "d" * 43,
        "end_time": "2026-03-01T12:00:02.000005Z",
    }
    assert (stated["requested_by"], stated["credential_id"]) == ("gateway/gateway-1", GATEWAY.credential_id)


async def test_an_outcome_reported_again_is_on_record_once(log: MemoryDecisionLog) -> None:
    """A gateway that lost the answer reports again, and gets the record that is there (case 15)."""
    first = await report(log)
    assert await report(log) == first
    assert len(log.records) == 3


async def test_an_end_that_becomes_known_later_is_another_record(log: MemoryDecisionLog) -> None:
    """`unknown` and what turned out afterwards both stay on record; nothing is overwritten (case 25)."""
    await report(log, kind=OutcomeKind.UNKNOWN)
    await report(log)
    assert [records.fields(record)["outcome"] for record in log.records[2:]] == ["unknown", "succeeded"]


async def test_what_became_of_obligations_is_on_record(log: MemoryDecisionLog) -> None:
    """The record tells of each obligation in the decision's order."""
    results = tuple(ObligationResult(type=name, detail="done") for name in ("timeout", "redact_result"))
    stated = records.fields(await report(log, obligation_results=results))
    assert stated["obligation_results"] == [
        {"type": "timeout", "detail": "done"},
        {"type": "redact_result", "detail": "done"},
    ]


A_FINDING = Reconciliation(finding=Finding.NOT_RUN, comment="no such file", found_by="ada", time=LATER)


@pytest.mark.parametrize("reported_before", [False, True])
async def test_a_finding_is_a_record_of_its_own_once(log: MemoryDecisionLog, reported_before: bool) -> None:
    """What a person found stands beside the outcome, once, whatever is reported again (cases 15 and 25)."""
    if reported_before:
        await report(log, kind=OutcomeKind.UNKNOWN)
    for found in (A_FINDING, A_FINDING, replace(A_FINDING, finding=Finding.FAILED)):
        recorded = await report(log, kind=OutcomeKind.UNKNOWN, reconciliation=found)
        assert recorded == log.records[2]
    outcome, reconciliation = log.records[2:]
    assert records.fields(outcome)["outcome"] == "unknown"
    assert reconciliation.type is RecordType.RECONCILIATION
    assert (reconciliation.decision_id, reconciliation.tenant) == ("decision-1", "acme")
    stated = records.fields(reconciliation)
    assert (stated["change"], stated["comment"], stated["found_by"]) == ("not_run", "no such file", "ada")
    assert (stated["execution_id"], stated["jti"]) == ("execution-1", "token-1")
    assert (stated["requested_by"], stated["find_time"]) == (
        "gateway/gateway-1",
        "2026-03-01T12:01:00.000000Z",
    )


async def test_a_refusal_is_an_outcome_too(log: MemoryDecisionLog) -> None:
    """What the gateway refused is on record with the reason."""
    recorded = await report(log, kind=OutcomeKind.REFUSED, refusal="TOKEN_EXPIRED", result_digest="")
    stated = records.fields(recorded)
    assert (stated["outcome"], stated["refusal"]) == ("refused", "TOKEN_EXPIRED")


@pytest.mark.parametrize(
    ("caller", "changes"),
    [
        pytest.param(GATEWAY, {"decision_id": "decision-9"}, id="no-such-decision"),
        pytest.param(GATEWAY, {"decision_id": ""}, id="no-decision"),
        pytest.param(GATEWAY, {"token_id": "token-2"}, id="another-token"),
        pytest.param(GATEWAY, {"decision_id": "decision-2", "token_id": "token-2"}, id="a-deny"),
        pytest.param(replace(GATEWAY, name="gateway-2"), {}, id="another-gateway"),
        pytest.param(replace(GATEWAY, tenant="other"), {}, id="another-tenant"),
    ],
)
async def test_a_gateway_speaks_only_of_its_own_tokens(
    log: MemoryDecisionLog, caller: Caller, changes: dict[str, Any]
) -> None:
    """Whatever is not this gateway's has one answer, and leaves no record (case 54)."""
    with pytest.raises(InterlockError) as raised:
        await report(log, caller, **changes)
    assert raised.value.reason is ErrorReason.DECISION_NOT_FOUND
    assert raised.value.message == ("there is no such decision with such a token for this gateway")
    assert len(log.records) == 2


async def test_two_gateways_do_not_meet_in_one_execution_id(log: MemoryDecisionLog) -> None:
    """An execution_id belongs to its gateway: another gateway's report of the same name is another record."""
    other = replace(GATEWAY, name="gateway-1-b")
    proposal = a_proposal("request-3")
    assert proposal.tool is not None
    proposal = replace(proposal, tool=replace(proposal.tool, gateway=other.name))
    draft = conclude(
        proposal,
        OBSERVED,
        policy_input(proposal, OBSERVED, NOON),
        an_answer("allow"),
        decision_id="decision-3",
        token_id="token-3",
        kid="key-1",
        terms=TERMS,
        now=NOON,
    )
    await log.append([draft])
    first = await report(log)
    assert await report(log, other, decision_id="decision-3", token_id="token-3") != first


async def test_an_outcome_that_cannot_be_recorded_is_not_taken(log: MemoryDecisionLog) -> None:
    """While the log is full the gateway is told so, and keeps its outcome to report it again (case 16)."""
    log.full = True
    with pytest.raises(InterlockError) as raised:
        await report(log)
    assert raised.value.reason is ErrorReason.DECISION_LOG_UNAVAILABLE
    log.full = False
    assert (await report(log)).log_index == 2
