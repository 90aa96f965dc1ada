# METADATA
# title: Approvals
# description: |
#   What people said when they were asked: a yes answers the reasons that they saw and no others, and anything else that
#   became of their approval is a no
package interlock.rules.approvals

import data.interlock.reasons
import data.interlock.rules

# METADATA
# title: Denied by a person
# description: Somebody who was asked said no
# custom:
#   code: approvals.denied
deny contains reason if {
	input.approval.state == "denied"
	reason := reasons.from_rule(rego.metadata.chain(), _approval)
}

# METADATA
# title: The approval has expired
# description: Nobody answered in time, or the agent did not ask again in time
# custom:
#   code: approvals.expired
deny contains reason if {
	input.approval.state == "expired"
	reason := reasons.from_rule(rego.metadata.chain(), _approval)
}

# METADATA
# title: The proposal was withdrawn
# description: The agent took it back while people were being asked
# custom:
#   code: approvals.withdrawn
deny contains reason if {
	input.approval.state == "withdrawn"
	reason := reasons.from_rule(rego.metadata.chain(), _approval)
}

# METADATA
# title: The approval's state is not known
# description: The input does not say, in the terms that the policy knows, what people said
# custom:
#   code: approvals.unknown_state
deny contains reason if {
	not _known
	reason := reasons.from_rule(rego.metadata.chain(), _approval)
}

# METADATA
# title: Approved by people
# description: People have seen exactly this call, and the reasons that it was escalated for
# custom:
#   code: approvals.approved
answer contains reason if {
	_approved
	metadata := {
		"approval_id": input.approval.approval_id,
		"approvers": sort({answer.approver | some answer in input.approval.answers}),
		"codes": input.approval.codes,
	}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

# METADATA
# title: Approved before it was proposed
# description: People have approved calls like this one, for a while; of several such approvals, the first to expire
# custom:
#   code: approvals.standing
answer contains reason if {
	metadata := {
		"standing_id": _standing.standing_id,
		"approvers": _standing.approvers,
		"codes": _standing.codes,
	}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

# METADATA
# title: Use of a standing approval
# description: One of the calls that it is for, where nothing else lets the call through
reserve contains {"type": "standing", "standing_id": _standing.standing_id}

# With an absent member, the deny itself would vanish.
_approval := {name: input.approval[name] | some name in ["approval_id"]}

_known if input.approval == null

_known if input.approval.state in {"approved", "denied", "expired", "withdrawn"}

_approved if {
	input.approval.state == "approved"
	input.approval.answers[0].approver
}

# What a person would be asked about, and nobody has answered with this approval.
_asked := {reason.code | some reason in rules[_].escalate} - _answered

_answered contains code if {
	_approved
	some code in input.approval.codes
}

_standing := input.facts.standing[place] if {
	[_, _, place] := min([[standing.expires_unix, standing.standing_id, place] |
		some place, standing in input.facts.standing
		_fits(standing)
	])
}

# It answers all that is asked: less would be used up for nothing.
_fits(standing) if {
	count(_asked) > 0
	is_string(standing.standing_id)
	is_number(standing.remaining)
	standing.remaining >= 1
	standing.approvers[0]
	count(_asked - {code | some code in standing.codes}) == 0
}
