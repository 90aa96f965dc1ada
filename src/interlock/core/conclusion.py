"""From a policy's answer to what goes on record, and from the record to what is granted.

A grant is always made from what the record holds, so that a decision that is asked for again, after a crash
or a lost reply, gives the same decision and the same token (invariant 9).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from interlock.core import record as records
from interlock.core.approving import ApprovalCondition, OpenApproval
from interlock.core.decision import Decision, Evaluated, PolicyAnswer, Verdict
from interlock.core.destinations import digest_of_destinations, disclosed
from interlock.core.errors import InterlockError
from interlock.core.freezing import FreezeCondition
from interlock.core.gateway_abilities import AbilitiesCondition
from interlock.core.granting import Condition, Grant, final_answer, hold_ends, refused
from interlock.core.holding import Holder
from interlock.core.named_files import digest_of_files
from interlock.core.observing import UNKNOWN_PARENT, Observed, Parent
from interlock.core.plan import PlanProposal
from interlock.core.plan_granting import PlanGrant, PlannedGrant, StepDue, StepGrant
from interlock.core.plan_stated import plan_claim, plan_input, plan_stated
from interlock.core.policy_input import DestinationInput, PolicyInput
from interlock.core.proposal import Proposal
from interlock.core.record import Draft, Record, RecordType, rfc3339, session_name
from interlock.core.reservation import RETRY_AFTER, Lease
from interlock.core.standing import StandingMatch
from interlock.core.standing_changes import UseStanding

ENTRY_POINT = "interlock/decision/result"
BUNDLE = "interlock"

Granting = Grant | StepGrant | PlanGrant | PlannedGrant
"""The changes that may turn an allow into a deny."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What this service stands for: who issues, for which environment, how long a token lives (seconds)."""

    issuer: str
    environment: str
    token_life: timedelta
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """What the record of a decision holds that a grant is made from."""

    tenant: str
    agent: str
    user: str
    session_id: str
    request_id: str
    payload_digest: str
    decision_id: str
    tool: str
    arguments_digest: str
    answer: PolicyAnswer
    policy_revision: str
    state_digest: str
    approval_id: str
    follows: str
    edited: bool
    token: Mapping[str, Any] | None


def policy_input(proposal: Proposal, observed: Observed, now: datetime) -> PolicyInput:
    """The document that the policy sees of a proposal; total, and with sensitive arguments concealed."""
    caller, tool, context = proposal.caller, proposal.tool, proposal.context
    return {
        "subject": {
            "tenant": caller.tenant,
            "agent": caller.name,
            "user": observed.user,
            "roles": list(caller.roles),
        },
        "tool": {
            "name": proposal.tool_name,
            "known": tool is not None,
            "digest": tool.digest if tool else "",
            "gateway": tool.gateway if tool else "",
            "effects": [effect.value for effect in tool.entry.effects] if tool else [],
            "labels": dict(tool.entry.labels) if tool else {},
            "cost": tool.entry.cost if tool else 0,
            "results": tool.entry.results.value if tool else "untrusted",
            "reversibility": tool.entry.reversibility.value if tool else "unknown",
        },
        "arguments": dict(proposal.disclosed_arguments),
        "arguments_digest": proposal.arguments_digest,
        "destinations": [
            cast("DestinationInput", asdict(each)) for each in disclosed(tool, proposal.destinations)
        ],
        "plan": plan_input(proposal.plan) if proposal.plan else None,
        "facts": observed.facts,
        "context": {
            "session_id": proposal.session_id,
            "parent_decision_id": proposal.parent_decision_id,
            "operation": proposal.operation,
            "goal": proposal.goal,
            "sources": [
                {"kind": source.kind, "reference": source.reference, "trust": source.trust.value}
                for source in context.sources
            ],
            "memory_reads": [
                {"key": read.key, "version": read.version, "digest": read.digest}
                for read in context.memory_reads
            ],
            "state_digest": context.state_digest,
        },
        "approval": proposal.evidence.told if proposal.evidence else None,
        "time": {"now": rfc3339(now), "unix": int(now.timestamp())},
    }


def parent(proposal: Proposal, record: Record | None) -> Parent:
    """What is known of the decision that the proposal says it follows from; it must be its own tenant's."""
    if record is None or record.tenant != proposal.caller.tenant:
        return UNKNOWN_PARENT
    stated = records.fields(record)
    document = stated["input"]
    # A plan measured nothing itself; its depth is that of its steps.
    loops = document["facts"].get("loops") if "facts" in document else document
    return Parent(known=True, depth=loops["depth"] if loops else 1, authors=_authors_in(stated))


def _authors_in(stated: Mapping[str, Any]) -> tuple[str, ...]:
    """Whom a recorded decision comes from."""
    subject = stated["input"]["subject"]
    return tuple(sorted({subject["agent"], subject["user"], *stated.get("authors", ())} - {""}))


def once(proposal: Proposal | PlanProposal) -> str:
    """The name under which a decision stands in the log only once (invariant 9).

    An escalated decision whose approval has ended is followed by one more, of a name of its own.
    """
    caller = proposal.caller
    return once_of(caller.tenant, caller.name, proposal.request_id, follows=proposal.follows)


def once_of(tenant: str, agent: str, request_id: str, *, follows: str) -> str:
    """The same name, for a request of this agent; `follows` is the approval that has ended, empty for the first."""
    name = f"decision/{tenant}/{agent}/{request_id}"
    return f"{name}/{follows}" if follows else name


def conclude(
    proposal: Proposal,
    observed: Observed,
    document: PolicyInput,
    evaluated: Evaluated,
    *,
    decision_id: str,
    token_id: str,
    kid: str,
    terms: Terms,
    now: datetime,
    opening: OpenApproval | None = None,
) -> Draft:
    """The record of a decision, with the terms of the token that it grants, and what granting it changes.

    `opening` is the approval that an escalate waits for; a step of a plan waits for the plan's.
    """
    answer = evaluated.answer
    return Draft(
        type=RecordType.DECISION,
        tenant=proposal.caller.tenant,
        once=once(proposal),
        decision_id=decision_id,
        session=session_name(proposal.caller.name, proposal.session_id),
        timestamp=now,
        fields={
            **_attempt(proposal, document, terms),
            "bundles": {BUNDLE: {"revision": evaluated.revision}},
            "result": answer.as_json(),
            "verdict": answer.verdict,
            "lacking": [],
            "state_digest": observed.state_digest,
            **authors_stated(proposal, observed),
            **answered_stated(proposal),
            "token": _token_terms(proposal, token_id, kid, terms, now)
            if _gets_token(proposal, answer)
            else None,
        },
        change=_change(proposal, observed, evaluated, decision_id, terms, now) if answer.allows else opening,
    )


def authors_stated(proposal: Proposal, observed: Observed) -> dict[str, Any]:
    """Whom the proposal comes from, where that is more than its own agent and user."""
    known = authors_of(proposal, observed)
    return {"authors": known} if set(known) - {proposal.caller.name, observed.user} else {}


def authors_of(proposal: Proposal, observed: Observed) -> list[str]:
    """The agent, its user, and those of all decisions that the proposal says it follows from."""
    return sorted({proposal.caller.name, observed.user, *observed.authors} - {""})


def answered_stated(asked: Proposal | PlanProposal) -> dict[str, Any]:
    """What a decision's record says of the approval that it weighed: which, and in which version."""
    if not asked.follows:
        return {}
    evidence = asked.evidence
    edited = {"edited": True} if isinstance(asked, Proposal) and asked.edited else {}
    return {"follows": asked.follows, "approval_version": evidence.version if evidence else 0, **edited}


def _gets_token(proposal: Proposal, answer: PolicyAnswer) -> bool:
    return answer.allows and (proposal.plan is None or proposal.plan.at_once)


def _change(
    proposal: Proposal,
    observed: Observed,
    evaluated: Evaluated,
    decision_id: str,
    terms: Terms,
    now: datetime,
) -> Grant | StepGrant:
    grant = _grant(proposal, observed, evaluated, decision_id, terms, now)
    if proposal.plan is None or proposal.filling is None:
        return grant
    due = StepDue(tenant=proposal.caller.tenant, plan=proposal.plan, filling=proposal.filling)
    return StepGrant(grant=replace(grant, conditions=(*grant.conditions, due)), plan=proposal.plan)


def _grant(
    proposal: Proposal,
    observed: Observed,
    evaluated: Evaluated,
    decision_id: str,
    terms: Terms,
    now: datetime,
) -> Grant:
    caller, answer = proposal.caller, evaluated.answer
    approved = _approved(proposal, observed, evaluated.revision)
    return Grant(
        conditions=(*_conditions(proposal, answer), *([approved] if approved else [])),
        uses=approved,
        used_by=decision_id,
        standing=_standing(proposal, observed, answer),
        reservations=answer.reservations,
        holder=Holder(
            tenant=caller.tenant,
            agent=caller.name,
            user=observed.user,
            session_id=proposal.session_id,
            tool=proposal.tool_name,
            decision_id=decision_id,
        ),
        to_mark=observed.to_mark,
        at=now,
        ends=hold_ends(now + terms.token_life, answer),
    )


def _approved(proposal: Proposal, observed: Observed, revision: str) -> ApprovalCondition | None:
    """What must be so of the approval that is behind the proposal, whatever the policy said."""
    if proposal.evidence is None:
        return None
    return ApprovalCondition(
        tenant=proposal.caller.tenant,
        evidence=proposal.evidence,
        user=observed.user,
        policy_revision=revision,
        authors=tuple(authors_of(proposal, observed)),
    )


def _standing(proposal: Proposal, observed: Observed, answer: PolicyAnswer) -> UseStanding | None:
    """The calls of standing approvals that the answer reserves."""
    names = tuple(terms.standing_id for terms in answer.reservations if terms.type == "standing")
    if not names:
        return None
    return UseStanding(match=StandingMatch(proposal), user=observed.user, standing_ids=names)


def _conditions(proposal: Proposal, answer: PolicyAnswer) -> tuple[Condition, ...]:
    """What must hold besides when the record is made, whatever the policy said."""
    caller, tool = proposal.caller, proposal.tool
    frozen = FreezeCondition(tenant=caller.tenant, agent=caller.name, tool=proposal.tool_name)
    if tool is None or not answer.obligations:
        return (frozen,)
    demanded = frozenset(obligation.type for obligation in answer.obligations)
    return (frozen, AbilitiesCondition(tenant=caller.tenant, gateway=tool.gateway, demanded=demanded))


def fail(
    proposal: Proposal, document: PolicyInput, error: InterlockError, *, terms: Terms, now: datetime
) -> Draft:
    """The record of an attempt that ended in an error; it leaves the request_id free to be used again.

    It stands in the timeline of its session all the same.
    """
    return Draft(
        type=RecordType.FAILURE,
        tenant=proposal.caller.tenant,
        once="",
        decision_id="",
        session=session_name(proposal.caller.name, proposal.session_id),
        timestamp=now,
        fields={
            **_attempt(proposal, document, terms),
            "error": {"code": error.reason.value, "message": error.message},
        },
    )


def conclude_draft(draft: Draft, answer: PolicyAnswer) -> Concluded:
    """What the record of a draft holds, whose `result` is this answer, once its change has run."""
    fields = {**draft.fields, "tenant": draft.tenant, "decision_id": draft.decision_id}
    if isinstance(draft.change, OpenApproval):
        fields = draft.change.stated(fields)
    elif isinstance(draft.change, Granting) and draft.change.lacking:
        fields = refused(fields, draft.change.lacking)
    return recall(fields, answer)


def recall(fields: Mapping[str, Any], answer: PolicyAnswer | None = None) -> Concluded:
    """What a decision's record holds; `answer` is that of its `result`, where that is at hand."""
    stated = PolicyAnswer.model_validate(fields["result"]) if answer is None else answer
    document = fields["input"]
    return Concluded(
        tenant=fields["tenant"],
        agent=fields["agent"],
        user=document["subject"]["user"],
        session_id=document["context"]["session_id"],
        request_id=fields["request_id"],
        payload_digest=fields["payload_digest"],
        decision_id=fields["decision_id"],
        tool=document["tool"]["name"] if "tool" in document else "",
        arguments_digest=document["arguments_digest"] if "tool" in document else document["plan"]["digest"],
        answer=final_answer(stated, fields.get("lacking", ())),
        policy_revision=fields["bundles"][BUNDLE]["revision"],
        state_digest=fields.get("state_digest", ""),
        approval_id=fields.get("approval_id", ""),
        follows=fields.get("follows", ""),
        edited=fields.get("edited", False),
        token=fields["token"],
    )


def claims(concluded: Concluded, log_index: int) -> dict[str, Any] | None:
    """The claims (`token.Claims`) of the token that a decision grants; None unless it is an allow.

    They are not checked here: all that they are made of was, and a gateway checks each of them.
    """
    terms = concluded.token
    if not concluded.answer.allows or terms is None:
        return None
    leases = _leases(concluded.answer, fence=log_index)
    return {
        "iss": terms["iss"],
        "aud": terms["aud"],
        "sub": concluded.user or concluded.agent,
        "act": {"sub": concluded.agent},
        "tenant": concluded.tenant,
        "iat": terms["iat"],
        "nbf": terms["nbf"],
        "exp": terms["exp"],
        "jti": terms["jti"],
        "txn": concluded.session_id,
        "decision_id": concluded.decision_id,
        "log_index": log_index,
        "policy_rev": concluded.policy_revision,
        "tool": concluded.tool,
        "catalog_digest": terms["catalog_digest"],
        "args_digest": concluded.arguments_digest,
        "obligations": [obligation.as_json() for obligation in concluded.answer.obligations],
        "env": terms["env"],
        **({"leases": leases} if leases else {}),
        **({"destinations": destinations} if (destinations := terms.get("destinations")) else {}),
        **({"plan": plan} if (plan := terms.get("plan")) else {}),
        **({"approval_id": approval_id} if (approval_id := terms.get("approval_id")) else {}),
        **({"files": files} if (files := terms.get("files")) else {}),
    }


def _leases(answer: PolicyAnswer, *, fence: int) -> list[dict[str, Any]]:
    """What the call has for itself. Places in the log only grow, in the order in which leases are taken."""
    return [
        {"resource": reservation.resource, "fence": fence}
        for reservation in answer.reservations
        if isinstance(reservation, Lease)
    ]


def decision(
    concluded: Concluded, log_index: int, execution_token: str, edited_arguments_json: bytes = b""
) -> Decision:
    """The decision as it is told to the caller."""
    return Decision(
        decision_id=concluded.decision_id,
        request_id=concluded.request_id,
        verdict=Verdict(concluded.answer.verdict),
        reasons=concluded.answer.reasons,
        obligations=concluded.answer.obligations,
        policy_revision=concluded.policy_revision,
        arguments_digest=concluded.arguments_digest,
        log_index=log_index,
        execution_token=execution_token,
        token_expire_time=datetime.fromtimestamp(concluded.token["exp"], UTC) if concluded.token else None,
        retry_after=_retry_after(concluded.answer),
        state_digest=concluded.state_digest,
        approval_id=concluded.approval_id,
        edited_arguments_json=edited_arguments_json,
    )


def _retry_after(answer: PolicyAnswer) -> float | None:
    """Seconds after which the same proposal may fare better; None where one of the reasons does not pass."""
    told = [reason.metadata.get(RETRY_AFTER) for reason in answer.reasons]
    seconds = [float(each) for each in told if isinstance(each, int | float) and not isinstance(each, bool)]
    if answer.verdict != "deny" or not seconds or len(seconds) < len(told):
        return None
    return max(0.0, *seconds)


def _attempt(proposal: Proposal, document: PolicyInput, terms: Terms) -> dict[str, Any]:
    """Fields that a decision and a failed attempt share."""
    return {
        "labels": dict(terms.labels),
        "path": ENTRY_POINT,
        "input": document,
        "erased": _erased(proposal),
        "requested_by": f"{proposal.caller.kind}/{proposal.caller.name}",
        "agent": proposal.caller.name,
        "credential_id": proposal.caller.credential_id,
        "request_id": proposal.request_id,
        "payload_digest": proposal.payload_digest,
        **({"plan": plan_stated(proposal.plan)} if proposal.plan else {}),
    }


def _erased(proposal: Proposal) -> list[str]:
    """JSON Pointers to what was concealed: all of the arguments where nobody knows the secrets among them."""
    if proposal.tool is None:
        return ["/input/arguments"]
    sensitive = proposal.tool.entry.sensitive
    if sensitive and proposal.violations:
        return ["/input/arguments"]
    return [f"/input/arguments{pointer}" for pointer in sensitive]


def _token_terms(proposal: Proposal, token_id: str, kid: str, terms: Terms, now: datetime) -> dict[str, Any]:
    """What a token will say beyond the rest of the record. An allow of an unknown tool has no gateway."""
    if proposal.tool is None:
        raise ValueError("an unknown tool cannot be granted")
    begin = int(now.timestamp())
    return {
        "jti": token_id,
        "kid": kid,
        "iss": terms.issuer,
        "aud": proposal.tool.gateway,
        "iat": begin,
        "nbf": begin,
        "exp": begin + int(terms.token_life.total_seconds()),
        "catalog_digest": proposal.tool.digest,
        "env": terms.environment,
        **({"destinations": led_to} if (led_to := digest_of_destinations(proposal.destinations)) else {}),
        **(
            {"plan": plan_claim(proposal.plan, asked_again=proposal.filling is not None)}
            if proposal.plan
            else {}
        ),
        **_approved_terms(proposal),
    }


def _approved_terms(proposal: Proposal) -> dict[str, Any]:
    """The approval that was used, and the digest of the files as people approved them."""
    if proposal.evidence is None or not proposal.evidence.approves:
        return {}
    files = digest_of_files(proposal.files)
    return {"approval_id": proposal.evidence.approval_id, **({"files": files} if files else {})}
