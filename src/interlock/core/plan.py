"""A plan: a directed acyclic graph of calls, decided as a whole (case 59)."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.core.approval_evidence import Evidence
from interlock.core.canonical import canonicalize, digest_of
from interlock.core.catalog import Catalog
from interlock.core.destinations import ResolvePath
from interlock.core.errors import invalid_field
from interlock.core.field_checks import check_identifier
from interlock.core.identity import Caller
from interlock.core.normalize import Conceal, check_call, normalize, proposal_of
from interlock.core.plan_references import Reference, find_references, invalid_reference
from interlock.core.plan_step import StepOfPlan
from interlock.core.proposal import Context, Proposal, RawProposal
from interlock.core.strict_json import parse_object

MAX_STEPS = 64
MAX_PLAN_BYTES = 2**20
"""Of the canonical arguments of all steps together; each step's are bounded as those of any call."""

_STEPS = "proposal.plan.steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawStep:
    """A step as it came over the wire."""

    step_id: str
    tool: str
    arguments_json: bytes = field(repr=False)
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPlan:
    """A request to decide a plan, with the caller that its credential names."""

    caller: Caller
    request_id: str
    session_id: str
    parent_decision_id: str
    goal: str
    context: Context
    steps: tuple[RawStep, ...]
    operation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProposal:
    """A well-formed plan. `steps` are proposals of their own, in an order in which each comes after what it needs.

    `digest` covers all that the steps are, with the catalog's entries; `payload_digest` all that the caller sent.
    `decision_id` is empty until it has one. `raw`, `follows`, `evidence` and `files` are as those of a Proposal.
    """

    caller: Caller
    request_id: str
    session_id: str
    digest: str
    payload_digest: str
    steps: tuple[Proposal, ...]
    decision_id: str = ""
    raw: RawPlan | None = field(default=None, repr=False)
    follows: str = ""
    evidence: Evidence | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the request: tenant, agent and request_id."""
        return (self.caller.tenant, self.caller.name, self.request_id)

    @property
    def calls(self) -> tuple[Proposal, ...]:
        """The calls that are decided: its steps."""
        return self.steps


def normalize_request(
    raw: RawProposal | RawPlan, catalog: Catalog, conceal: Conceal, resolve: ResolvePath
) -> Proposal | PlanProposal:
    """The proposal or the plan in its one form. Raises InterlockError as `normalize` and `normalize_plan`."""
    if isinstance(raw, RawPlan):
        return normalize_plan(raw, catalog, conceal, resolve)
    return normalize(raw, catalog, conceal, resolve)


def normalize_plan(raw: RawPlan, catalog: Catalog, conceal: Conceal, resolve: ResolvePath) -> PlanProposal:
    """The plan in its one form.

    Raises InterlockError: INVALID_FIELD or MALFORMED_ARGUMENTS, with the field and the JSON Pointer.
    """
    if raw.operation:
        raise invalid_field("proposal.operation", "must be empty for a plan, whose steps are each their own")
    # 1. So many steps, each with a name of its own.
    positions = _positions(raw.steps)
    # 2. Each comes after steps that there are, and none after itself, by whatever way.
    order, depths, before = _order(raw.steps, positions)
    # 3. Arguments, and what they refer to: only what comes before.
    arguments = [_arguments(step, position) for position, step in enumerate(raw.steps)]
    references = [
        _references(position, arguments[position], before[position], positions)
        for position in range(len(raw.steps))
    ]
    _check_size(arguments)
    # 4. Each step as a proposal.
    calls = [
        proposal_of(
            _raw_call(raw, step),
            arguments[position],
            catalog,
            conceal,
            resolve,
            unfilled=[reference.place for reference in references[position]],
        )
        for position, step in enumerate(raw.steps)
    ]
    plan_digest = _plan_digest(raw.steps, calls, arguments)
    payload_digest = _payload_digest(raw, calls)
    steps = [
        replace(
            calls[position],
            payload_digest=digest_of([payload_digest, raw.steps[position].step_id]),
            plan=StepOfPlan(
                decision_id="",
                digest=plan_digest,
                step=raw.steps[position].step_id,
                steps=len(raw.steps),
                position=place,
                depth=depths[position],
                after=tuple(sorted(raw.steps[position].after)),
                references=references[position],
                wanted=_wanted(raw.steps[position].step_id, references),
                at_once=not references[position] and _is_beside(position, raw.steps, calls, positions),
            ),
        )
        for place, position in enumerate(order)
    ]
    return PlanProposal(
        caller=raw.caller,
        request_id=raw.request_id,
        session_id=raw.session_id,
        digest=plan_digest,
        payload_digest=payload_digest,
        steps=tuple(steps),
        raw=raw,
    )


def _field(position: int) -> str:
    return f"{_STEPS}[{position}].tool_call"


def _positions(steps: Sequence[RawStep]) -> dict[str, int]:
    if not 1 <= len(steps) <= MAX_STEPS:
        raise invalid_field(_STEPS, f"must have 1 to {MAX_STEPS} entries, got {len(steps)}")
    positions: dict[str, int] = {}
    for position, step in enumerate(steps):
        field = f"{_STEPS}[{position}].step_id"
        check_identifier(field, step.step_id)
        if (first := positions.setdefault(step.step_id, position)) != position:
            raise invalid_field(field, f"is that of `{_STEPS}[{first}]` too, expected each once")
    return positions


def _order(steps: Sequence[RawStep], positions: Mapping[str, int]) -> tuple[list[int], list[int], list[int]]:
    """The steps' places in their order, and of each the depth, and a bit for each step before it.

    Kahn's algorithm (1962), in time linear in steps and edges; steps that may run at the same time stay as given.
    """
    after = [_after(position, step, positions) for position, step in enumerate(steps)]
    following: list[list[int]] = [[] for _ in steps]
    for position, places in enumerate(after):
        for place in places:
            following[place].append(position)
    missing = [len(places) for places in after]
    ready = deque(position for position, count in enumerate(missing) if count == 0)
    order: list[int] = []
    depths, before = [0] * len(steps), [0] * len(steps)
    while ready:
        position = ready.popleft()
        order.append(position)
        for later in following[position]:
            depths[later] = max(depths[later], depths[position] + 1)
            before[later] |= before[position] | 1 << position
            missing[later] -= 1
            if missing[later] == 0:
                ready.append(later)
    if len(order) < len(steps):
        stuck = next(position for position, count in enumerate(missing) if count)
        raise invalid_field(f"{_STEPS}[{stuck}].after", "leads back to the step itself")
    return order, depths, before


def _after(position: int, step: RawStep, positions: Mapping[str, int]) -> list[int]:
    field = f"{_STEPS}[{position}].after"
    if len(step.after) != len(set(step.after)):
        raise invalid_field(field, "names a step twice")
    places = []
    for number, name in enumerate(step.after):
        place = positions.get(name)
        if place is None:
            raise invalid_field(f"{field}[{number}]", "is not a step of the plan")
        if place == position:
            raise invalid_field(f"{field}[{number}]", "is the step itself")
        places.append(place)
    return places


def _arguments(step: RawStep, position: int) -> dict[str, Any]:
    check_call(step.tool, field=_field(position))
    return parse_object(step.arguments_json, field=f"{_field(position)}.arguments_json")


def _references(
    position: int,
    arguments: Mapping[str, Any],
    before: int,
    positions: Mapping[str, int],
) -> tuple[Reference, ...]:
    field = f"{_field(position)}.arguments_json"
    references = find_references(arguments, field=field)
    for reference in references:
        place = positions.get(reference.step)
        if place is None or not before >> place & 1:
            raise invalid_reference(
                field, reference.place, "refers to what is not a step that it comes after"
            )
    return references


def _check_size(arguments: Sequence[Mapping[str, Any]]) -> None:
    size = sum(len(canonicalize(each)) for each in arguments)
    if size > MAX_PLAN_BYTES:
        raise invalid_field(
            _STEPS, f"must have at most {MAX_PLAN_BYTES} bytes of arguments together, got {size}"
        )


def _raw_call(raw: RawPlan, step: RawStep) -> RawProposal:
    return RawProposal(
        caller=raw.caller,
        request_id=raw.request_id,
        session_id=raw.session_id,
        parent_decision_id=raw.parent_decision_id,
        goal=raw.goal,
        tool=step.tool,
        arguments_json=step.arguments_json,
        context=raw.context,
    )


def _wanted(step: str, references: Sequence[Sequence[Reference]]) -> tuple[str, ...]:
    return tuple(sorted({each.pointer for step_s in references for each in step_s if each.step == step}))


def _is_beside(
    position: int, steps: Sequence[RawStep], calls: Sequence[Proposal], positions: Mapping[str, int]
) -> bool:
    """Whether the steps that must have succeeded before run at the same gateway, whose ledger knows of them."""
    gateways = {_gateway(calls[positions[name]]) for name in steps[position].after}
    return gateways <= {_gateway(calls[position])}


def _gateway(call: Proposal) -> str:
    return call.tool.gateway if call.tool else ""


def _plan_digest(
    steps: Sequence[RawStep], calls: Sequence[Proposal], arguments: Sequence[Mapping[str, Any]]
) -> str:
    """SHA-256 (base64url) over the canonical form of all steps, in whatever order they were given."""
    return digest_of(
        {
            step.step_id: {
                "tool": step.tool,
                "catalog_digest": call.tool.digest if call.tool else "",
                "arguments": arguments,
                "after": sorted(step.after),
            }
            for step, call, arguments in zip(steps, calls, arguments, strict=True)
        }
    )


def _payload_digest(raw: RawPlan, calls: Sequence[Proposal]) -> str:
    """Covers what the caller sent, and nothing of the catalog, which may change before the request comes again."""
    steps = [
        [step.step_id, step.tool, call.arguments_digest, list(step.after)]
        for step, call in zip(raw.steps, calls, strict=True)
    ]
    return digest_of(["plan", calls[0].payload_digest, steps])
