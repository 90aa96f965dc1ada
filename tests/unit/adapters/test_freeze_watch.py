"""What a gateway makes of what it hears of freezes, and of hearing nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from interlock.adapters.freeze_watch import KNOWN_SECONDS, REMEMBERED_SECONDS, FreezeWatch
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.freeze import Freeze
from interlock.core.token import Claims
from interlock.ports import ToolDrift
from tests.freezes import TARGETS, THE_AGENT, a_freeze, claims_of, ended

DRIFT = ToolDrift(tool="git_log", pinned_digest="pinned", listed_digest="")


@dataclass(slots=True)
class Service:
    """ports.ControlService that answers with `frozen`, or raises it. `takes` seconds go by meanwhile."""

    frozen: Sequence[Freeze] | Exception = ()
    takes: float = 0.0
    seconds: float = 1_000.0
    heard: list[tuple[Sequence[str], Sequence[ToolDrift]]] = field(default_factory=list)

    async def attend(self, obligations: Sequence[str], drifted: Sequence[ToolDrift]) -> Sequence[Freeze]:
        self.heard.append((obligations, drifted))
        self.seconds += self.takes
        if isinstance(self.frozen, Exception):
            raise self.frozen
        return self.frozen

    def watch(self) -> FreezeWatch:
        return FreezeWatch(
            self, obligations=("timeout",), drifted=lambda: (DRIFT,), monotonic=lambda: self.seconds
        )


def refusal(watch: FreezeWatch, claims: Claims) -> ErrorReason | None:
    try:
        watch.check(claims)
    except InterlockError as error:
        return error.reason
    return None


def away(reason: ErrorReason = ErrorReason.DECISION_LOG_UNAVAILABLE) -> InterlockError:
    return InterlockError(reason=reason, message="the decision service cannot be reached")


async def test_before_the_first_answer_nothing_is_known() -> None:
    """A gateway that was never answered refuses every token, and says when to try again (invariant 1)."""
    watch = Service().watch()
    with pytest.raises(InterlockError) as caught:
        watch.check(claims_of(1))
    assert (caught.value.reason, caught.value.retry_after) == (ErrorReason.FREEZES_UNKNOWN, 1.0)
    assert not watch.known


async def test_what_it_heard_counts_from_when_it_was_asked_for() -> None:
    """An answer counts for two seconds from its question: what it says may have been true only then (case 12)."""
    service = Service(takes=0.5)
    watch = service.watch()
    await watch.ask()
    service.seconds += KNOWN_SECONDS - 0.5 - 0.001
    assert (watch.known, refusal(watch, claims_of(1))) == (True, None)
    service.seconds += 0.001
    assert (watch.known, refusal(watch, claims_of(1))) == (False, ErrorReason.FREEZES_UNKNOWN)


async def test_a_frozen_token_is_refused_by_its_freeze() -> None:
    """A token of before a freeze that covers it is refused, with the freeze's record; later ones pass (case 12)."""
    watch = Service([ended(a_freeze(THE_AGENT, log_index=50))]).watch()
    await watch.ask()
    with pytest.raises(InterlockError) as caught:
        watch.check(claims_of(49))
    assert caught.value.reason is ErrorReason.TOKEN_FROZEN
    assert caught.value.metadata == {"freeze": "50"}
    assert refusal(watch, claims_of(51)) is None


async def test_it_tells_what_it_can_do_and_what_it_found() -> None:
    """Each question carries the gateway's obligations and the tools that drifted (case 60)."""
    service = Service()
    await service.watch().ask()
    assert service.heard == [(("timeout",), (DRIFT,))]


@pytest.mark.parametrize("trouble", [away(), away(ErrorReason.DEADLINE_EXCEEDED), ValueError("odd")], ids=str)
async def test_a_lost_answer_is_borne_for_two_seconds(trouble: Exception) -> None:
    """One answer that does not come changes nothing yet; after two seconds nothing is known (invariant 1)."""
    service = Service()
    watch = service.watch()
    await watch.ask()
    service.frozen, service.seconds = trouble, service.seconds + 1.0
    await watch.ask()
    assert watch.known
    service.seconds += 1.0
    await watch.ask()
    assert refusal(watch, claims_of(1)) is ErrorReason.FREEZES_UNKNOWN
    service.frozen = ()
    await watch.ask()
    assert refusal(watch, claims_of(1)) is None


@pytest.mark.parametrize(
    "reason",
    [ErrorReason.CREDENTIAL_MISSING, ErrorReason.CREDENTIAL_INVALID, ErrorReason.CALLER_NOT_PERMITTED],
)
async def test_a_credential_that_is_refused_ends_what_was_known(reason: ErrorReason) -> None:
    """A gateway that the service does not know any more refuses at once, and says why once (case 42)."""
    service = Service()
    watch = service.watch()
    await watch.ask()
    service.frozen = away(reason)
    with capture_logs() as said:
        for _ in range(3):
            await watch.ask()
    assert refusal(watch, claims_of(1)) is ErrorReason.FREEZES_UNKNOWN
    assert [(each["event"], each["reason"]) for each in said] == [("freezes_not_heard", reason.value)]


ANSWERS = st.lists(
    st.tuples(
        st.floats(min_value=0.0, max_value=3.0),
        st.none()
        | st.lists(
            st.builds(
                lambda target, log_index, over: (
                    ended(a_freeze(target, log_index=log_index))
                    if over
                    else a_freeze(target, log_index=log_index)
                ),
                st.sampled_from(TARGETS),
                st.integers(0, 100),
                st.booleans(),
            ),
            max_size=3,
        ),
    ),
    max_size=12,
)


@given(answers=ANSWERS, place=st.integers(0, 100))
async def test_no_token_of_before_a_freeze_is_taken_after_it_was_heard(
    answers: list[tuple[float, list[Freeze] | None]], place: int
) -> None:
    """Whatever is heard or not heard later, a token that a freeze stops stays refused (case 12, invariant 1)."""
    service = Service()
    watch, stopped = service.watch(), False
    for seconds, frozen in answers:
        service.seconds += seconds
        service.frozen = away() if frozen is None else frozen
        await watch.ask()
        stopped = stopped or any(freeze.log_index > place for freeze in frozen or ())
        if stopped:
            assert refusal(watch, claims_of(place)) is ErrorReason.TOKEN_FROZEN
        elif watch.known:
            assert refusal(watch, claims_of(place)) is None


async def test_a_freeze_is_forgotten_when_no_token_of_before_is_left() -> None:
    """Long after it was last told of, a freeze takes no memory any more."""
    service = Service([a_freeze(THE_AGENT, log_index=50)])
    watch = service.watch()
    await watch.ask()
    service.frozen, service.seconds = (), service.seconds + REMEMBERED_SECONDS
    await watch.ask()
    assert refusal(watch, claims_of(49)) is None
