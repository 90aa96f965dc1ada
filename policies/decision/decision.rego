# METADATA
# title: Decision
# description: |
#   The only package that the service queries. What the topic rules found is folded into one verdict:
#   any deny beats any escalate, any escalate beats any allow, and nothing at all means deny.
package interlock.decision

import data.interlock.rules

# METADATA
# title: Result
# description: Verdict, reasons, obligations and reservations for one proposal
# scope: document
# entrypoint: true
result := _refusal("deny", _deny) if count(_deny) > 0

else := _refusal("escalate", _escalate) if count(_unanswered) > 0

else := _permission(_allow | _answers) if count(_allow | _answers) > 0

else := _refusal("deny", set())

# METADATA
# title: Batch
# description: One result for each input of a batch, in order
# scope: document
# entrypoint: true
# schemas:
#   - input.batch: {type: array}
batch := [answer |
	some proposed in input.batch
	answer := result with input as proposed
]

# METADATA
# title: Offered
# description: |
#   For each input of a batch, in order, whether its tool is shown to the subject. That is no permission: what is
#   proposed is decided. Where no topic withholds anything from anybody, nothing is shown
# scope: document
# entrypoint: true
# schemas:
#   - input.batch: {type: array}
offered := [answer |
	some proposed in input.batch
	answer := _offered with input as proposed
]

_refusal(verdict, reasons) := {
	"verdict": verdict,
	"reasons": reasons,
	"obligations": set(),
	"reservations": set(),
}

_permission(reasons) := {
	"verdict": "allow",
	"reasons": reasons,
	"obligations": _obligations,
	"reservations": _reservations,
}

default _offered := false

_offered if {
	some topic in rules
	topic.withhold
	count(_withhold) == 0
}

_deny contains reason if some reason in rules[_].deny

_escalate contains reason if some reason in rules[_].escalate

# Whom something is escalated to sees all of it, also what somebody has answered already.
_unanswered := {reason | some reason in _escalate; not reason.code in _answered}

_answered := {code | some reason in _answers; some code in reason.metadata.codes}

# One topic answers, so that no other lets through what people have not seen. Without a question there is no answer.
_answers := {reason |
	count(_escalate) > 0
	some reason in rules.approvals.answer
	some asked in _escalate
	asked.code in reason.metadata.codes
}

_allow contains reason if some reason in rules[_].allow

_obligations contains obligation if some obligation in rules[_].obligation

_reservations contains reservation if some reservation in rules[_].reserve

_withhold contains cause if some cause in rules[_].withhold
