"""What the policy says of a proposal at the moment, with an approval in hand: told to approvers, and no grant."""

from collections.abc import Sequence

from interlock.core import conclusion
from interlock.core.approval_binding import Asked
from interlock.core.approval_view import Preview
from interlock.core.decision import Evaluated, PolicyAnswer
from interlock.core.errors import InterlockError
from interlock.core.plan_conclusion import combine
from interlock.core.proposal import Proposal
from interlock.core.session import Measuring
from interlock.flows.decided import calls_of, place
from interlock.flows.follow import Following
from interlock.flows.givers import with_valid_givers
from interlock.flows.observe import Peek, observations


async def preview(
    asked: Asked, following: Following, measuring: Measuring, *, limit_seconds: float
) -> Preview | None:
    """The verdict on facts as they are now, nothing of which is counted; None where there is no clear one.

    Raises InterlockError: DECISION_LOG_UNAVAILABLE.
    """
    [placed] = await place([asked], following.reader, following.changing.identifiers)
    calls = calls_of(placed)
    if not calls:
        return None
    now = following.changing.clock.now()
    looks = [Peek(each) for each in await observations(calls, following.reader, at=now, measuring=measuring)]
    looked = await following.changing.state.apply(looks, durable=False)
    observed = await with_valid_givers(looked, following.credentials)
    documents = [
        conclusion.policy_input(call, facts, now) for call, facts in zip(calls, observed, strict=True)
    ]
    answers = await following.engine.evaluate(documents, limit_seconds=limit_seconds)
    given = [each.answer for each in answers if isinstance(each, Evaluated)]
    if len(given) < len(answers) or any(isinstance(each, InterlockError) for each in answers):
        return None
    return _told(given, calls)


def _told(given: Sequence[PolicyAnswer], calls: Sequence[Proposal]) -> Preview:
    if len(given) == 1:
        return Preview(verdict=given[0].verdict, reasons=given[0].reasons)
    named = {
        call.plan.step if call.plan else str(place): answer
        for place, (call, answer) in enumerate(zip(calls, given, strict=True))
    }
    whole = combine(named)
    return Preview(verdict=whole.verdict, reasons=whole.reasons)
