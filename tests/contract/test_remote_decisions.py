"""A front's questions to a decision service over real gRPC on loopback: whose they are, and what answers are worth."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from interlock.core.decision import Decision, Verdict
from interlock.core.errors import ErrorReason, FieldViolation, InterlockError
from interlock.ports import ProposedCall
from interlock.rpc.remote_decisions import RemoteDecisions
from interlock.v1 import decision_pb2, decision_service_pb2
from tests.contract.scripted_services import TOKEN, Answer, Server, decides, gives, raises

CALL = ProposedCall(
    request_id="request-1",
    session_id="session-1",
    goal="look",
    tool="echo",
    arguments_json=b'{"amount":5}',
)


@pytest.fixture
async def decisions(server: Server) -> AsyncIterator[RemoteDecisions]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield RemoteDecisions(channel)


async def fails(decisions: RemoteDecisions) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await decisions.decide(CALL, "agent")
    return caught.value


async def test_each_call_carries_its_own_agents_credential(
    server: Server, decisions: RemoteDecisions
) -> None:
    """Agents that share a gateway are told apart by the credential that each brought (invariant 6)."""
    await decisions.decide(CALL, "first")
    await decisions.list_tools("gateway-1", "second")
    assert server.authorizations["DecisionService"] == ["Bearer first", "Bearer second"]


async def test_the_call_is_proposed_as_it_is(server: Server, decisions: RemoteDecisions) -> None:
    """Request, session, goal, tool and the bytes of the arguments arrive as they were given (invariant 3)."""
    decision = await decisions.decide(CALL, "agent")
    [asked] = server.decisions.decide.asked
    assert (asked.request_id, asked.proposal.session_id, asked.proposal.goal) == (
        "request-1",
        "session-1",
        "look",
    )
    assert asked.proposal.tool_call.tool == "echo"
    assert asked.proposal.tool_call.arguments_json == CALL.arguments_json
    assert (decision.verdict, decision.execution_token) == (Verdict.ALLOW, TOKEN)


async def test_an_escalate_comes_whole(server: Server, decisions: RemoteDecisions) -> None:
    """Reasons, approval and the time to wait are what the service said."""
    reason = decision_pb2.Reason(
        code="effects.needs_person", message="ask", metadata_json=b'{"effects":["write"]}', path="/to"
    )
    server.decisions.decide.otherwise = decides(
        verdict=decision_pb2.VERDICT_ESCALATE, execution_token="", reasons=[reason], approval_id="approval-1"
    )
    decision = await decisions.decide(CALL, "agent")
    assert (decision.verdict, decision.approval_id) == (Verdict.ESCALATE, "approval-1")
    assert decision.reasons[0].model_dump() == {
        "code": "effects.needs_person",
        "message": "ask",
        "metadata": {"effects": ["write"]},
        "path": "/to",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": decision_pb2.VERDICT_UNSPECIFIED},
        {"verdict": 77},
        {"execution_token": ""},
        {"verdict": decision_pb2.VERDICT_DENY},
        {"verdict": decision_pb2.VERDICT_ESCALATE},
        {"request_id": "another"},
        {"reasons": [decision_pb2.Reason(code="not a code", message="m")]},
        {"reasons": [decision_pb2.Reason(code="a.b", message="m", metadata_json=b"{")]},
        {"obligations": [decision_pb2.Obligation(type="Not a type")]},
    ],
    ids=[
        "no verdict",
        "unknown verdict",
        "allow without a token",
        "deny with a token",
        "escalate with a token",
        "another request",
        "bad code",
        "bad metadata",
        "bad obligation",
    ],
)
async def test_an_answer_out_of_contract_is_no_allow(
    server: Server, decisions: RemoteDecisions, wrong: dict[str, Any]
) -> None:
    """Whatever is not a whole decision on this request yields no token (invariant 1)."""
    server.decisions.decide.otherwise = decides(**wrong)
    assert (await fails(decisions)).reason is ErrorReason.INTERNAL


async def test_an_error_of_the_service_comes_as_it_was(server: Server, decisions: RemoteDecisions) -> None:
    """Reason, message, place and time to wait arrive, for the model to act on (invariant 10)."""
    violation = FieldViolation(
        field="proposal.tool_call.arguments_json", pointer="/amount", description="is no I-JSON"
    )
    server.decisions.decide.otherwise = raises(
        ErrorReason.MALFORMED_ARGUMENTS, violations=(violation,), retry_after=1.5
    )
    error = await fails(decisions)
    assert error.reason is ErrorReason.MALFORMED_ARGUMENTS
    assert error.message == "it went wrong"
    assert (error.violations, error.retry_after) == ((violation,), 1.5)


async def test_a_service_that_is_away_is_told_as_that() -> None:
    """No answer is an error that says when to come again, and no decision (invariant 1)."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        error = await fails(RemoteDecisions(channel))
    assert error.message == "the decision service cannot be reached"
    assert error.retry_after


async def test_tools_are_named_as_the_service_names_them(decisions: RemoteDecisions) -> None:
    """The list comes in the service's order."""
    assert await decisions.list_tools("gateway-1", "agent") == ("echo", "fail")


async def waits_for(decisions: RemoteDecisions, server: Server) -> Decision:
    server.decisions.decide.steps.append(
        decides(verdict=decision_pb2.VERDICT_ESCALATE, execution_token="", approval_id="approval-1")
    )
    return await decisions.decide(CALL, "agent")


def waited(**changes: Any) -> Answer:
    told = decision_pb2.Decision(
        **{
            "decision_id": "d-2",
            "request_id": "request-1",
            "verdict": decision_pb2.VERDICT_ALLOW,
            "execution_token": TOKEN,
            **changes,
        }
    )
    return gives(decision_service_pb2.WaitDecisionResponse(decision=told))


async def test_an_escalated_decision_is_waited_for_in_its_agents_name(
    server: Server, decisions: RemoteDecisions
) -> None:
    """What it comes to is told whole, with what an approver made of the arguments (invariant 3)."""
    escalated = await waits_for(decisions, server)
    server.decisions.wait_decision.steps.append(waited(edited_arguments_json=b'{"amount":4}'))
    told = await decisions.wait(escalated, "another", limit_seconds=5.0)
    assert (told.verdict, told.execution_token) == (Verdict.ALLOW, TOKEN)
    assert told.edited_arguments_json == b'{"amount":4}'
    assert [each.decision_id for each in server.decisions.wait_decision.asked] == ["d-1"]
    assert server.authorizations["DecisionService"][-1] == "Bearer another"


@pytest.mark.parametrize(
    "wrong", [{"request_id": "another"}, {"execution_token": ""}], ids=["another request", "no token"]
)
async def test_what_is_waited_for_is_no_allow_out_of_contract(
    server: Server, decisions: RemoteDecisions, wrong: dict[str, Any]
) -> None:
    """Whatever is not a whole decision on what was escalated yields no token (invariant 1)."""
    escalated = await waits_for(decisions, server)
    server.decisions.wait_decision.steps.append(waited(**wrong))
    with pytest.raises(InterlockError) as caught:
        await decisions.wait(escalated, "agent", limit_seconds=5.0)
    assert caught.value.reason is ErrorReason.INTERNAL


async def test_a_proposal_is_taken_back_in_its_agents_name(
    server: Server, decisions: RemoteDecisions
) -> None:
    """The service hears which decision it is, and its refusals come as they were."""
    escalated = await waits_for(decisions, server)
    server.decisions.withdraw_decision.steps.extend(
        [gives(decision_service_pb2.WithdrawDecisionResponse()), raises(ErrorReason.APPROVAL_CLOSED)]
    )
    await decisions.withdraw(escalated, "agent")
    with pytest.raises(InterlockError) as caught:
        await decisions.withdraw(escalated, "agent")
    assert caught.value.reason is ErrorReason.APPROVAL_CLOSED
    assert [each.decision_id for each in server.decisions.withdraw_decision.asked] == ["d-1", "d-1"]
