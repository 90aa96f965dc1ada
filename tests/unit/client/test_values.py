"""Values: a decision is never more of a yes than its verdict and its token together."""

import pytest

from interlock.client.values import Decision, ToolCall, Verdict

TOKEN = "header.payload.signature"


def decision(verdict: Verdict, token: str) -> Decision:
    return Decision(
        decision_id="d-1",
        request_id="r-1",
        verdict=verdict,
        reasons=(),
        obligations=(),
        execution_token=token,
        policy_revision="rev",
        arguments_digest="digest",
        log_index=0,
    )


def test_an_allow_is_allowed() -> None:
    """An allow with its token is a yes."""
    assert decision(Verdict.ALLOW, TOKEN).allowed


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ESCALATE])
def test_nothing_else_is_allowed(verdict: Verdict) -> None:
    """A deny and an escalate are no yes (invariant 1)."""
    assert not decision(verdict, "").allowed


@pytest.mark.parametrize(
    ("verdict", "token"), [(Verdict.ALLOW, ""), (Verdict.DENY, TOKEN), (Verdict.ESCALATE, TOKEN)]
)
def test_verdict_and_token_must_agree(verdict: Verdict, token: str) -> None:
    """There is no allow without a token, and no other verdict with one (invariant 1)."""
    with pytest.raises(ValueError, match="execution token") as caught:
        decision(verdict, token)
    assert TOKEN not in str(caught.value)


def test_a_token_is_not_shown() -> None:
    """The execution token is in no text that is made of a decision (case 63)."""
    allowed = decision(Verdict.ALLOW, TOKEN)
    assert TOKEN not in f"{allowed!r} {allowed}"


def test_arguments_are_not_shown() -> None:
    """The arguments of a call are in no text that is made of it (case 63)."""
    call = ToolCall(tool="send_money", arguments={"iban": "DE00-SECRET"})
    assert "SECRET" not in f"{call!r} {call}"


def test_each_call_has_a_request_id_of_its_own() -> None:
    """Two calls that look the same are two requests; one call that is sent twice is one."""
    first, second = (ToolCall(tool="t", arguments={}) for _ in range(2))
    assert first.request_id != second.request_id
