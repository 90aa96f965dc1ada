# METADATA
# title: Approval
# description: |
#   Who may approve, how urgently people are asked, and for how long. The service asks when an approval is to be opened
#   (nobody answers then), and for each answer
# schemas:
#   - input: schema.approval
package interlock.approval

# METADATA
# title: Result
# description: The terms of an approval, and whether this answer to it is permitted and enough
# scope: document
# entrypoint: true
result := {
	"priority": 50,
	"expire_seconds": 3600,
	"use_seconds": 900,
	"most_pending": {"agent": 20, "tenant": 1000},
	"roles": ["approver"],
	"quorum": 1,
	"permitted": _permitted,
	"sufficient": _permitted,
	"reasons": _reasons,
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

default _permitted := false

_permitted if "approver" in input.approver.roles

_reasons := [] if _permitted

else := [{"code": "approvals.role_missing", "message": "No role of the approver may approve this", "metadata": {}}]
