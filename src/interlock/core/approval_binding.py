"""What exactly a proposal is, so that an approval can be bound to it (case 51)."""

from collections.abc import Iterable, Mapping

from interlock.core import argument_forms, named_files
from interlock.core.approval import Binding
from interlock.core.canonical import digest_of
from interlock.core.destinations import Destination, digest_of_destinations, disclosed
from interlock.core.plan import PlanProposal
from interlock.core.proposal import Proposal

Asked = Proposal | PlanProposal


def binding_of(asked: Asked, *, user: str, policy_revision: str, files: Mapping[str, str]) -> Binding:
    """All that an approval of this proposal stands for. `files`: what was found of the files that it names, by path."""
    whole = isinstance(asked, PlanProposal)
    tool = None if isinstance(asked, PlanProposal) else asked.tool
    return Binding(
        tenant=asked.caller.tenant,
        agent=asked.caller.name,
        user=user,
        tool="" if isinstance(asked, PlanProposal) else asked.tool_name,
        catalog_digest=tool.digest if tool else "",
        arguments_digest=asked.digest if isinstance(asked, PlanProposal) else asked.arguments_digest,
        plan_digest=_plan(asked),
        destinations=_destinations(asked) if whole else digest_of_destinations(_all(asked)),
        files=named_files.digest_of_files(files),
        policy_revision=policy_revision,
    )


def name_of(asked: Asked) -> str:
    """What it is called: a tool's name, or `plan of 3 steps`."""
    return f"plan of {len(asked.steps)} steps" if isinstance(asked, PlanProposal) else asked.tool_name


def group_of(asked: Asked) -> str:
    """The same for calls of one tool whose arguments differ in numbers, ids and cursors only: 32 hexadecimal digits."""
    calls = asked.steps if isinstance(asked, PlanProposal) else (asked,)
    return digest_of([[call.tool_name, _form(call)] for call in calls])[:32]


def paths_of(asked: Asked) -> dict[str, str]:
    """The canonical paths that the arguments name, each with the folder of its root."""
    calls = asked.steps if isinstance(asked, PlanProposal) else (asked,)
    return {
        path: folder
        for call in calls
        for path, folder in named_files.paths_of(call.tool, call.destinations).items()
    }


def told_files(asked: Asked, files: Mapping[str, str]) -> dict[str, str]:
    """What was found of the files, without those that only sensitive arguments name (case 63)."""
    calls = asked.steps if isinstance(asked, PlanProposal) else (asked,)
    told = {each.canonical for call in calls for each in disclosed(call.tool, call.destinations)}
    return {path: found for path, found in files.items() if path in told}


def files_of_step(step: Proposal, plan: PlanProposal) -> Mapping[str, str]:
    """What was found of the files that a step names; nothing where a step before it may change one of them.

    Those are what the plan makes of them by then, and nobody can have seen that.
    """
    assert step.plan is not None
    before = plan.steps[: step.plan.position]
    changed = [path for each in before for path in named_files.changed_by(each.tool, each.destinations)]
    named = named_files.paths_of(step.tool, step.destinations)
    if any(named_files.is_touched(path, changed) for path in named):
        return {}
    return {path: found for path, found in plan.files.items() if path in named}


def _plan(asked: Asked) -> str:
    """The plan itself; of a step that is proposed again, which step of which plan it is."""
    if isinstance(asked, PlanProposal):
        return asked.digest
    if asked.step_call is None:
        return ""
    reference = asked.step_call.reference
    return digest_of([reference.decision_id, reference.step_id])


def _form(call: Proposal) -> str:
    roles = call.tool.entry.roles if call.tool else {}
    return argument_forms.similar_form(call.disclosed_arguments, roles).decode()


def _all(asked: Asked) -> Iterable[Destination]:
    calls = asked.steps if isinstance(asked, PlanProposal) else (asked,)
    return [each for call in calls for each in call.destinations]


def _destinations(plan: Asked) -> str:
    assert isinstance(plan, PlanProposal)
    by_step = {step.plan.step: digest_of_destinations(step.destinations) for step in plan.steps if step.plan}
    stated = {step: found for step, found in by_step.items() if found}
    return digest_of(stated) if stated else ""
