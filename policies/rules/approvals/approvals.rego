# METADATA
# title: Approvals
# description: |
#   What people said when they were asked: a yes answers the reasons that they saw and no others, and anything else that
#   became of their approval is a no
package interlock.rules.approvals

import data.interlock.reasons

# METADATA
# title: Denied by a person
# description: Somebody who was asked said no
# custom:
#   code: approvals.denied
deny contains reason if {
	input.approval.state == "denied"
	reason := reasons.from_rule(rego.metadata.chain(), {"approval_id": input.approval.approval_id})
}

# METADATA
# title: The approval has expired
# description: Nobody answered in time, or the agent did not ask again in time
# custom:
#   code: approvals.expired
deny contains reason if {
	input.approval.state == "expired"
	reason := reasons.from_rule(rego.metadata.chain(), {"approval_id": input.approval.approval_id})
}

# METADATA
# title: The proposal was withdrawn
# description: The agent took it back while people were being asked
# custom:
#   code: approvals.withdrawn
deny contains reason if {
	input.approval.state == "withdrawn"
	reason := reasons.from_rule(rego.metadata.chain(), {"approval_id": input.approval.approval_id})
}

# METADATA
# title: Approved by people
# description: People have seen exactly this call, and the reasons that it was escalated for
# custom:
#   code: approvals.approved
answer contains reason if {
	input.approval.state == "approved"
	count(input.approval.answers) > 0
	metadata := {
		"approval_id": input.approval.approval_id,
		"approvers": sort({answer.approver | some answer in input.approval.answers}),
		"codes": input.approval.codes,
	}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}
