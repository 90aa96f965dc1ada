"""A request as it is kept, sealed, while people look at it: what the agent sent, to be decided again without it."""

from typing import Any

import orjson

from interlock.core.holds import check_version
from interlock.core.identity import Caller
from interlock.core.plan import RawPlan, RawStep
from interlock.core.plan_step import StepReference
from interlock.core.proposal import Context, MemoryRead, RawProposal, Source, SourceTrust

_VERSION = 1


def encode(raw: RawProposal | RawPlan) -> bytes:
    """All but who asks, as JSON."""
    stated: dict[str, Any] = {
        "request_id": raw.request_id,
        "session_id": raw.session_id,
        "parent_decision_id": raw.parent_decision_id,
        "goal": raw.goal,
        "operation": raw.operation,
        "sources": [[each.kind, each.reference, each.trust.value] for each in raw.context.sources],
        "memory_reads": [[each.key, each.version, each.digest] for each in raw.context.memory_reads],
        "state_digest": raw.context.state_digest,
    }
    if isinstance(raw, RawPlan):
        stated["steps"] = [
            [step.step_id, step.tool, step.arguments_json.decode(), list(step.after)] for step in raw.steps
        ]
    else:
        stated["call"] = [raw.tool, raw.arguments_json.decode()]
        stated["plan_step"] = [raw.plan_step.decision_id, raw.plan_step.step_id] if raw.plan_step else None
    return orjson.dumps([_VERSION, stated])


def decode(data: bytes, caller: Caller) -> RawProposal | RawPlan:
    """The request as if `caller` sent it again. Raises ValueError for what is of a newer version."""
    version, stated = orjson.loads(data)
    check_version(version, _VERSION)
    common: dict[str, Any] = {
        "caller": caller,
        "request_id": stated["request_id"],
        "session_id": stated["session_id"],
        "parent_decision_id": stated["parent_decision_id"],
        "goal": stated["goal"],
        "operation": stated["operation"],
        "context": Context(
            sources=tuple(
                Source(kind=kind, reference=reference, trust=SourceTrust(trust))
                for kind, reference, trust in stated["sources"]
            ),
            memory_reads=tuple(
                MemoryRead(key=key, version=version, digest=digest)
                for key, version, digest in stated["memory_reads"]
            ),
            state_digest=stated["state_digest"],
        ),
    }
    if "steps" in stated:
        steps = tuple(
            RawStep(step_id=step_id, tool=tool, arguments_json=arguments.encode(), after=tuple(after))
            for step_id, tool, arguments, after in stated["steps"]
        )
        return RawPlan(**common, steps=steps)
    tool, arguments = stated["call"]
    reference = stated["plan_step"]
    return RawProposal(
        **common,
        tool=tool,
        arguments_json=arguments.encode(),
        plan_step=StepReference(decision_id=reference[0], step_id=reference[1]) if reference else None,
    )
