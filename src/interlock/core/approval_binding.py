"""What exactly a proposal is, so that an approval can be bound to it (case 51)."""

from collections.abc import Mapping

from interlock.core import argument_forms, named_files
from interlock.core.approval import Binding
from interlock.core.canonical import digest_of
from interlock.core.destinations import digest_of_destinations, disclosed
from interlock.core.plan import PlanProposal
from interlock.core.proposal import Proposal

Asked = Proposal | PlanProposal


def binding_of(asked: Asked, *, user: str, policy_revision: str, files: Mapping[str, str]) -> Binding:
    """All that an approval of this proposal stands for. `files`: what was found of the files that it names, by path."""
    whose = {"tenant": asked.caller.tenant, "agent": asked.caller.name, "user": user}
    found = {"files": named_files.digest_of_files(files), "policy_revision": policy_revision}
    if isinstance(asked, PlanProposal):
        return Binding(
            **whose,
            **found,
            tool="",
            catalog_digest="",
            arguments_digest=asked.digest,
            plan_digest=asked.digest,
            destinations=_destinations(asked),
        )
    return Binding(
        **whose,
        **found,
        tool=asked.tool_name,
        catalog_digest=asked.tool.digest if asked.tool else "",
        arguments_digest=asked.arguments_digest,
        plan_digest=_step(asked),
        destinations=digest_of_destinations(asked.destinations),
    )


def name_of(asked: Asked) -> str:
    """What it is called: a tool's name, or `plan of 3 steps`."""
    return f"plan of {len(asked.steps)} steps" if isinstance(asked, PlanProposal) else asked.tool_name


def group_of(asked: Asked) -> str:
    """The same for calls of one tool whose arguments differ in numbers, ids and cursors only: 32 hexadecimal digits."""
    return digest_of([[call.tool_name, _form(call)] for call in asked.calls])[:32]


def paths_of(asked: Asked) -> dict[str, str]:
    """The canonical paths that the arguments name, each with the folder of its root."""
    return {
        path: folder
        for call in asked.calls
        for path, folder in named_files.paths_of(call.tool, call.destinations).items()
    }


def told_files(asked: Asked, files: Mapping[str, str]) -> dict[str, str]:
    """What was found of the files, without those that only sensitive arguments name (case 63)."""
    told = {each.canonical for call in asked.calls for each in disclosed(call.tool, call.destinations)}
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


def _step(call: Proposal) -> str:
    """Which step of which plan it is, where it is one that is proposed again; empty for any other call."""
    if call.step_call is None:
        return ""
    reference = call.step_call.reference
    return digest_of([reference.decision_id, reference.step_id])


def _form(call: Proposal) -> str:
    roles = call.tool.entry.roles if call.tool else {}
    return argument_forms.similar_form(call.disclosed_arguments, roles).decode()


def _destinations(plan: PlanProposal) -> str:
    by_step = {step.planned_step: digest_of_destinations(step.destinations) for step in plan.steps}
    stated = {step: found for step, found in by_step.items() if found}
    return digest_of(stated) if stated else ""
