# METADATA
# title: Plans
# description: |
#   A plan is decided as a whole, before any of it has run, so it must be small enough for its outcome to be foreseen.
#   A call that is no step of a plan is nothing to this topic
package interlock.rules.plans

import data.interlock.facts
import data.interlock.limits
import data.interlock.reasons

# METADATA
# title: Limits on plans are not set
# description: The policy data lacks a limit, or an override sets what is none
# custom:
#   code: plans.not_set
deny contains reason if {
	not _single
	not _set
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: The plan is not known
# description: The input does not say, in numbers, where in its plan the call stands
# custom:
#   code: plans.not_known
deny contains reason if {
	not _single
	not _known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Too many steps
# description: The plan has more steps than the limit; propose the first of them, and the others once those have run
# custom:
#   code: plans.too_many_steps
deny contains reason if {
	limit := limits.current.plans.shape.steps
	input.plan.steps > limit
	reason := reasons.from_rule(rego.metadata.chain(), {"limit": limit})
}

# METADATA
# title: Too many steps in a row
# description: |
#   The step comes at the end of a longer row of steps than the limit; what it will meet by then cannot be foreseen
# custom:
#   code: plans.too_deep
deny contains reason if {
	limit := limits.current.plans.shape.steps_in_a_row
	input.plan.depth >= limit
	reason := reasons.from_rule(rego.metadata.chain(), {"limit": limit})
}

# Negations of these themselves would be undefined where what they ask for is absent, and so deny nothing.
_single if input.plan == null

_set if limits.are_set(limits.current.plans, {"shape": {"steps", "steps_in_a_row"}})

_known if facts.are_counts([input.plan.depth, input.plan.position, input.plan.steps])
