"""What the policy says of a proposal at the moment, with an approval in hand: told to approvers, and no grant."""

from interlock.core import conclusion
from interlock.core.approval_binding import Asked
from interlock.core.approval_view import Preview
from interlock.core.decision import Evaluated
from interlock.core.plan_conclusion import answer_to
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
    if len(given) < len(answers):
        return None
    whole = answer_to(calls, given)
    return Preview(verdict=whole.verdict, reasons=whole.reasons)
