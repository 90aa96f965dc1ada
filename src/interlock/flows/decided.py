"""What a batch is made of, call by call, and what is found of each of its proposals in the log.

A call of its own is one draft; a plan is one and one for each of its steps, stored together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from interlock.core import conclusion, record
from interlock.core.approving import OpenApproval
from interlock.core.conclusion import Concluded, Terms
from interlock.core.decision import Evaluated, PolicyAnswer
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.observing import Observed
from interlock.core.plan import PlanProposal
from interlock.core.plan_conclusion import Decided, conclude_plan, steps_of
from interlock.core.plan_filling import place_step
from interlock.core.policy_input import PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, Record
from interlock.ports import Identifiers, RecordReader

Placed = Proposal | PlanProposal | InterlockError
"""A proposal, with what is to be known of its plan; or why it cannot be decided."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision in its place of the log; of a plan, with those of its `steps`, by name.

    `edited_arguments_json` is what an approver put in the place of the proposed arguments.
    """

    log_index: int
    concluded: Concluded
    steps: tuple[tuple[str, "Recorded"], ...] = ()
    edited_arguments_json: bytes = field(default=b"", repr=False)

    @property
    def waits(self) -> bool:
        """Whether it was escalated, and has an approval."""
        return self.concluded.answer.verdict == "escalate" and bool(self.concluded.approval_id)


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of one call."""

    call: Proposal
    observed: Observed
    document: PolicyInput
    answer: Evaluated | InterlockError
    draft: Draft


@dataclass(frozen=True, slots=True)
class Entry:
    """What goes on record of one proposal: drafts, and the answers that they hold; or the error that comes of it."""

    drafts: Sequence[Draft]
    answers: Sequence[PolicyAnswer]
    error: InterlockError | None = None


async def place(
    proposals: Sequence[Proposal | PlanProposal], reader: RecordReader, identifiers: Identifiers
) -> list[Placed]:
    """Give plans their names, and steps that are proposed again their places in their plans."""
    return [
        await _place_step(each, reader)
        if isinstance(each, Proposal) and each.step_call
        else _named(each, identifiers)
        for each in proposals
    ]


def _named(proposal: Proposal | PlanProposal, identifiers: Identifiers) -> Proposal | PlanProposal:
    if isinstance(proposal, Proposal):
        return proposal
    name = identifiers.new()
    steps = tuple(
        replace(step, plan=replace(step.plan, decision_id=name)) for step in proposal.steps if step.plan
    )
    return replace(proposal, decision_id=name, steps=steps)


async def _place_step(proposal: Proposal, reader: RecordReader) -> Placed:
    assert proposal.step_call is not None
    [found] = await reader.decision_records([proposal.step_call.reference.decision_id])
    try:
        return place_step(proposal, found)
    except InterlockError as error:
        return error


def calls_of(placed: Placed) -> Sequence[Proposal]:
    """The calls that are to be decided for it."""
    return () if isinstance(placed, InterlockError) else placed.calls


def entries_of(
    placed: Sequence[Placed],
    made: Sequence[Made],
    openings: Sequence[OpenApproval | None],
    *,
    terms: Terms,
    now: datetime,
) -> list[Entry]:
    """What goes on record of each, from what was made of all their calls, in order, and the approvals they wait for."""
    following = iter(made)
    return [
        _entry(each, following, opening, terms, now) for each, opening in zip(placed, openings, strict=True)
    ]


def _entry(
    placed: Placed,
    made: Iterator[Made],
    opening: OpenApproval | None,
    terms: Terms,
    now: datetime,
) -> Entry:
    match placed:
        case Proposal():
            return _single(next(made))
        case PlanProposal():
            return _whole(placed, list(islice(made, len(placed.steps))), opening, terms, now)
        case InterlockError():
            return Entry((), (), placed)


def _single(made: Made) -> Entry:
    if isinstance(made.answer, InterlockError):
        return Entry((made.draft,), (), made.answer)
    return Entry((made.draft,), (made.answer.answer,))


def _whole(
    plan: PlanProposal, made: Sequence[Made], opening: OpenApproval | None, terms: Terms, now: datetime
) -> Entry:
    """A plan of which one step could not be decided is not decided; each failed attempt is on record."""
    failed = [each for each in made if isinstance(each.answer, InterlockError)]
    if failed:
        errors = [each.answer for each in failed if isinstance(each.answer, InterlockError)]
        return Entry([each.draft for each in failed], (), errors[0])
    decided = [
        Decided(
            call=each.call,
            observed=each.observed,
            document=each.document,
            evaluated=each.answer,
            draft=each.draft,
        )
        for each in made
        if isinstance(each.answer, Evaluated)
    ]
    concluded = conclude_plan(plan, decided, terms=terms, now=now, opening=opening)
    return Entry([draft for _, draft in concluded], [answer for answer, _ in concluded])


async def recorded(entry: Entry, stored: Sequence[Record], reader: RecordReader) -> Recorded | InterlockError:
    """What stands on record now: our drafts, unless another request of this name was first."""
    if entry.error:
        return entry.error
    if stored[0].decision_id != entry.drafts[0].decision_id:
        return await recall(stored[0], reader)
    first, *rest = (
        Recorded(each.log_index, conclusion.conclude_draft(draft, answer))
        for each, draft, answer in zip(stored, entry.drafts, entry.answers, strict=True)
    )
    if not rest:
        return first
    names = [step["step"] for step in steps_of(entry.drafts[0].fields)]
    return replace(first, steps=tuple(zip(names, rest, strict=True)))


async def recall(found: Record, reader: RecordReader) -> Recorded | InterlockError:
    """A decision from its record, and those of a plan's steps from theirs.

    A record that was edited grants nothing, and takes nothing from the rest of its batch (case 20).
    """
    if problem := record.inner_problem(found):
        return _edited(found, problem)
    fields = record.fields(found)
    stated = Recorded(found.log_index, conclusion.recall(fields))
    steps = steps_of(fields)
    if not steps:
        return stated
    told = [
        _recall_step(each) for each in await reader.decision_records([step["decision_id"] for step in steps])
    ]
    errors = [each for each in told if isinstance(each, InterlockError)]
    if errors:
        return errors[0]
    names = [step["step"] for step in steps]
    good = [each for each in told if isinstance(each, Recorded)]
    return replace(stated, steps=tuple(zip(names, good, strict=True)))


def _recall_step(found: Record | None) -> Recorded | InterlockError:
    if found is None:
        return InterlockError(
            reason=ErrorReason.INTERNAL, message="the decision log lacks the record of a plan's step"
        )
    if problem := record.inner_problem(found):
        return _edited(found, problem)
    return Recorded(found.log_index, conclusion.recall(record.fields(found)))


def _edited(found: Record, problem: str) -> InterlockError:
    return InterlockError(
        reason=ErrorReason.INTERNAL,
        message=f"record {found.log_index} of the decision log {problem}, so nothing is granted from it",
    )
