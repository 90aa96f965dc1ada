# METADATA
# title: Loops
# description: |
#   An agent that goes round in circles is stopped: it repeats calls, alike or the same, or its sub-agents call each
#   other without end. What the tool or the model is called does not matter
package interlock.rules.loops

import data.interlock.facts
import data.interlock.limits
import data.interlock.reasons
import data.interlock.tools

# METADATA
# title: Limits on loops are not set
# description: The policy data lacks a limit, or an override sets what is none
# custom:
#   code: loops.not_set
deny contains reason if {
	_noted
	not _set
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Loops were not measured
# description: The facts do not say, in numbers, how the proposal repeats others
# custom:
#   code: loops.not_measured
deny contains reason if {
	_noted
	not _measured
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: No progress
# description: The same call gave the same result each time, so once more will not tell anything new
# custom:
#   code: loops.no_progress
deny contains reason if {
	_noted
	some scope in _scopes
	input.facts.loops[scope].same_call_same_result >= limits.current.loops[scope].no_progress
	reason := reasons.from_rule(rego.metadata.chain(), _limit(scope, "no_progress"))
}

# METADATA
# title: The same call too often
# description: Even a call whose answer changes may be proposed only so often
# custom:
#   code: loops.same_call
deny contains reason if {
	_noted
	some scope in _scopes
	input.facts.loops[scope].same_call >= limits.current.loops[scope].same_call
	reason := reasons.from_rule(rego.metadata.chain(), _limit(scope, "same_call"))
}

# METADATA
# title: A cycle of calls
# description: The last calls are one cycle of two to eight calls, over and over
# custom:
#   code: loops.cycle
deny contains reason if {
	_noted
	some scope in _scopes
	input.facts.loops[scope].cycle.count >= limits.current.loops[scope].cycle
	metadata := object.union(_limit(scope, "cycle"), {"length": input.facts.loops[scope].cycle.length})
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

# METADATA
# title: Too many similar calls
# description: The calls differ in nothing but numbers, ids and cursors, and no list is that long
# custom:
#   code: loops.too_many_similar_calls
deny contains reason if {
	_noted
	some scope in _scopes
	input.facts.loops[scope].similar_call >= limits.current.loops[scope].similar_call_denied
	reason := reasons.from_rule(rego.metadata.chain(), _limit(scope, "similar_call_denied"))
}

# METADATA
# title: Too many steps
# description: The session has proposed more than a session may
# custom:
#   code: loops.too_many_steps
deny contains reason if {
	_noted
	input.facts.loops.session.steps >= limits.current.loops.session.steps_denied
	reason := reasons.from_rule(rego.metadata.chain(), _limit("session", "steps_denied"))
}

# METADATA
# title: Nested too deeply
# description: Proposals follow from each other, across sub-agents, deeper than they may
# custom:
#   code: loops.too_deep
deny contains reason if {
	_noted
	input.facts.loops.depth > limits.current.loops.nesting.depth
	reason := reasons.from_rule(rego.metadata.chain(), {"limit": limits.current.loops.nesting.depth})
}

# METADATA
# title: Unknown parent
# description: The decision that the proposal says it follows from is none of this tenant, so its depth is unknown
# custom:
#   code: loops.unknown_parent
deny contains reason if {
	_noted
	not input.facts.loops.parent_known == true
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: A person must look at a repeated effect
# description: |
#   A call that may change the world was proposed several times; what nobody declared to read only is no poll. What
#   failed and is tried again is for the topic of retries
# custom:
#   code: loops.repeated_effect
#   change:
#     always_approved: |
#       # limits/data.yaml, for the role of agents whose work this is
#       overrides: {roles: {batch-worker: {loops: {session: {repeated_effect: 10}, agent: {repeated_effect: 50}}}}}
#     always_denied: |
#       # limits/data.yaml; this one also denies a read that is repeated so often
#       loops: {session: {same_call: 3}}
escalate contains reason if {
	_noted
	not tools.only_reads
	not _failed
	some scope in _scopes
	input.facts.loops[scope].same_call >= limits.current.loops[scope].repeated_effect
	reason := reasons.from_rule(rego.metadata.chain(), _limit(scope, "repeated_effect"))
}

# METADATA
# title: A person must look at many similar calls
# description: The calls differ in nothing but numbers, ids and cursors; it may be a long list, or a loop
# custom:
#   code: loops.similar_call
#   change:
#     always_approved: |
#       # limits/data.yaml, for the role of agents that work through lists
#       overrides: {roles: {batch-worker: {loops: {session: {similar_call: 90}}}}}
#     always_denied: |
#       # limits/data.yaml: deny at the number at which people are asked
#       loops: {session: {similar_call_denied: 30}}
escalate contains reason if {
	_noted
	some scope in _scopes
	input.facts.loops[scope].similar_call >= limits.current.loops[scope].similar_call
	reason := reasons.from_rule(rego.metadata.chain(), _limit(scope, "similar_call"))
}

# METADATA
# title: A person must look at a long session
# description: The session has proposed so much that somebody should see whether it gets anywhere
# custom:
#   code: loops.steps
#   change:
#     always_approved: |
#       # limits/data.yaml, for the role of agents with long sessions
#       overrides: {roles: {batch-worker: {loops: {session: {steps: 5000, steps_denied: 10000}}}}}
#     always_denied: |
#       # limits/data.yaml: deny at the number at which people are asked
#       loops: {session: {steps_denied: 500}}
escalate contains reason if {
	_noted
	input.facts.loops.session.steps >= limits.current.loops.session.steps
	reason := reasons.from_rule(rego.metadata.chain(), _limit("session", "steps"))
}

_scopes := ["agent", "session"]

_limit(scope, name) := {"scope": scope, "limit": limits.current.loops[scope][name]}

_set if {
	limits.are_set(limits.current.loops, {
		"agent": {"cycle", "no_progress", "repeated_effect", "same_call", "similar_call", "similar_call_denied"},
		"nesting": {"depth"},
		"session": {
			"cycle", "no_progress", "repeated_effect", "same_call", "similar_call", "similar_call_denied",
			"steps", "steps_denied",
		},
	})
}

# A name that the caller gives may be that of another call, which failed.
_failed if {
	input.facts.retries.operation.key_given == false
	is_number(input.facts.retries.operation.failed_in_row)
	input.facts.retries.operation.failed_in_row > 0
}

# Whether there is anything to look at. Mostly there is not, and then this is all that the topic costs.
_noted if not _calm

# Nobody made the call before, of its like there are few, and it is no sub-agent's. What says so are numbers: in Rego's
# order, null and booleans come before those, and text after them.
_calm if {
	input.facts.loops.parent_known == true
	input.facts.loops.depth == 1
	input.facts.loops.agent.same_call == 1
	input.facts.loops.session.same_call == 1
	agent := limits.current.loops.agent
	session := limits.current.loops.session
	[alike_of_agent, a, b] := [input.facts.loops.agent.similar_call, agent.similar_call, agent.similar_call_denied]
	[alike, c, d] := [input.facts.loops.session.similar_call, session.similar_call, session.similar_call_denied]
	[steps, e, f] := [input.facts.loops.session.steps, session.steps, session.steps_denied]
	min([alike_of_agent, alike, steps]) >= 1
	max([a, b, c, d, e, f]) < ""
	alike_of_agent < a
	alike_of_agent < b
	alike < c
	alike < d
	steps < e
	steps < f
}

_measured if {
	facts.are_counts([input.facts.loops.depth])
	every scope in _scopes {
		calls := input.facts.loops[scope]
		facts.are_counts([calls.same_call, calls.same_call_same_result, calls.similar_call, calls.steps])
		facts.are_counts([calls.cycle.count, calls.cycle.length])
	}
}
