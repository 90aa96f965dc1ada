# METADATA
# title: Approval
# description: |
#   Who may approve, how many must, how urgently they are asked, and for how long. The service asks when an approval is
#   to be opened (nobody answers then), and for each answer. What nobody may do whatever stands here is in its code
# schemas:
#   - input: schema.approval
package interlock.approval

import data.interlock.limits
import data.interlock.reasons

# METADATA
# title: Result
# description: |
#   The terms of an approval, and whether this answer to it is permitted and enough. Where a limit is missing or is
#   none, there is no result, and so nothing can be approved
# scope: document
# entrypoint: true
result := {
	"priority": _priority,
	"expire_seconds": _terms.seconds.expire,
	"use_seconds": _terms.seconds.use,
	"most_pending": _terms.pending,
	"roles": sort(_approving),
	"quorum": _quorum,
	"permitted": count(_refuse) == 0,
	"sufficient": _sufficient,
	"reasons": _refuse,
}

# METADATA
# title: Batch
# description: One result for each input of a batch, in order
# scope: document
# entrypoint: true
# schemas:
#   - input.batch: {type: array}
batch := [answer |
	some asked in input.batch
	answer := result with input as asked
]

# METADATA
# title: The answer is not known
# description: It is neither an approve nor a deny, or the input does not say whose it is and what else it asks for
# custom:
#   code: approvals.answer_not_known
_refuse contains reason if {
	not _answer_known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: The call is not known
# description: The input does not say, in the terms that the policy knows, what the call does and for whom
# custom:
#   code: approvals.call_not_known
_refuse contains reason if {
	not _call_known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Own proposal
# description: Whoever proposed the call, stands behind its agent, or acts for one of them, is not asked about it
# custom:
#   code: approvals.own_proposal
_refuse contains reason if {
	not _answered_by_another
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: No role for this
# description: None of the approver's roles covers all that the call does
# custom:
#   code: approvals.role_missing
_refuse contains reason if {
	not _role_covers_answer
	reason := reasons.from_rule(rego.metadata.chain(), {"roles": sort(_approving)})
}

# METADATA
# title: No role for standing approvals
# description: None of the approver's roles that cover the call may approve the like of it too
# custom:
#   code: approvals.standing_role_missing
_refuse contains reason if {
	not _standing_permitted
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# Bound of the contract: see `ApprovalTerms`.
_most_priority := 100

_terms := terms if {
	terms := _limits.approvals
	limits.are_set(terms, {
		"seconds": {"expire", "use"},
		"pending": {"agent", "agent_an_hour", "tenant"},
		"quorum": {"read", "write", "send", "delete", "execute", "pay", "irreversible"},
		"effect_points": {"read", "write", "send", "delete", "execute", "pay"},
		"points": {
			"irreversible", "reversibility_unknown", "new_tool", "new_shape", "new_target",
			"further_reason", "unlisted_arguments", "tainted",
		},
	})
}

# As they hold for who proposes, whose call it is.
_limits := current if {
	current := limits.current with input as input.proposal
}

else := data.limits

_call := input.proposal.tool

_effects := {effect | some effect in _call.effects}

# What is not said to be reversible or unknown is treated as what nothing undoes.
_undoable if _call.reversibility in {"reversible", "unknown"}

_call_known if {
	_call.known == true
	is_string(input.proposal.subject.tenant)
	is_array(input.proposal.subject.roles)
	every role in input.proposal.subject.roles {
		is_string(role)
	}
	count(_effects) > 0
	every effect in _effects {
		_terms.effect_points[effect]
	}
}

_answer_known if {
	input.resolution in {"approve", "deny"}
	is_boolean(input.edited)
	is_boolean(input.standing)
}

# The roles that may approve the call: one must cover all that it does.
_approving contains role if {
	some role, may in data.approvers
	_call_known
	count(_effects - {effect | some effect in may.effects}) == 0
	_irreversible_covered(may)
}

_irreversible_covered(_) if _undoable

_irreversible_covered(may) if may.irreversible == true

# A no is the safe side: whoever may approve anything may say it.
_role_covers_answer if {
	input.resolution == "deny"
	some role in input.approver.roles
	data.approvers[role].effects[0]
}

_role_covers_answer if {
	some role in input.approver.roles
	role in _approving
}

_standing_permitted if input.standing == false

_standing_permitted if {
	some role in input.approver.roles
	role in _approving
	data.approvers[role].standing == true
}

_authors := {author | some author in input.authors; is_string(author); author != ""}

# Nobody is set apart from authors that are not known.
_authors_known if {
	count(_authors) > 0
	every author in input.authors {
		author in _authors
	}
}

_delegates := {concat("", ["delegate-of-", author]) | some author in _authors}

_answered_by_another if _is_another(input.approver.name, input.approver.roles)

_is_another(name, roles) if {
	_authors_known
	is_string(name)
	name != ""
	not name in _authors
	is_array(roles)
	every role in roles {
		is_string(role)
		not role in _delegates
	}
}

# Who has approved with this answer, each once, and may do so as things are now.
_people contains input.approver.name if count(_refuse) == 0

_people contains answer.approver if {
	some answer in input.answers
	_is_another(answer.approver, answer.roles)
	some role in answer.roles
	role in _approving
}

default _sufficient := false

_sufficient if {
	input.resolution == "approve"
	count(_refuse) == 0
	count(_people) >= _quorum
}

_quorum := max(_needed)

_needed contains _terms.quorum[effect] if some effect in _effects

_needed contains _terms.quorum.irreversible if not _undoable

# Of a call that is not known, as many as any takes.
_needed contains number if {
	not _call_known
	some number in _terms.quorum
}

_priority := min([_most_priority, sum([_effect_points, _further_reasons * _terms.points.further_reason, sum(_points)])])

_effect_points := max([points | some effect in _effects; points := _terms.effect_points[effect]]) if _call_known

else := max([points | some points in _terms.effect_points])

_further_reasons := max([0, count([reason | some reason in input.reasons]) - 1])

_points := [_terms.points[cause] | some cause in _causes]

_causes contains "irreversible" if not _undoable

_causes contains "reversibility_unknown" if _call.reversibility == "unknown"

_causes contains "new_tool" if not input.proposal.facts.novelty.tool == false

_causes contains "new_shape" if not input.proposal.facts.novelty.shape == false

_causes contains "new_target" if not _targets_used

_causes contains "unlisted_arguments" if not input.proposal.facts.provenance_unlisted == 0

_causes contains "tainted" if not input.proposal.facts.context.untrusted_since_step == 0

_targets_used if {
	every target in input.proposal.facts.novelty.targets {
		target.first == false
	}
}
