# METADATA
# title: Retries
# description: |
#   What failed may be tried again, but not at once, not for ever, and not by so many that retries breed retries.
#   What is tried for the first time is never stopped by what became of other calls
package interlock.rules.retries

import data.interlock.facts
import data.interlock.jitter
import data.interlock.limits
import data.interlock.reasons

# METADATA
# title: Limits on retries are not set
# description: The policy data lacks a limit, or an override sets what is none
# custom:
#   code: retries.not_set
deny contains reason if {
	_noted
	not _set
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Retries were not measured
# description: The facts do not say, in numbers, what was tried before and how it went
# custom:
#   code: retries.not_measured
deny contains reason if {
	_noted
	not _measured
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Too soon
# description: |
#   The operation failed more than once and has to wait, twice as long after each failure, less a share that differs
#   from agent to agent
# custom:
#   code: retries.too_soon
deny contains reason if {
	_noted
	passed := input.facts.retries.operation.seconds_since_failure
	passed < floor(_wait) # whole seconds are counted, and who waited as long as was told is not told to wait again
	reason := reasons.from_rule(rego.metadata.chain(), {"retry_after_seconds": _wait - passed})
}

# METADATA
# title: No attempt is left
# description: The operation failed each time, whoever of the tenant tried it
# custom:
#   code: retries.exhausted
deny contains reason if {
	_noted
	limit := limits.current.retries.operation.failures
	input.facts.retries.operation.failed_in_row >= limit
	reason := reasons.from_rule(rego.metadata.chain(), {"limit": limit})
}

# METADATA
# title: Invalid again and again
# description: One proposal after the other did not fit the catalog, whatever the reasons said
# custom:
#   code: retries.invalid_in_row
deny contains reason if {
	_noted
	some scope in ["agent", "session"]
	limit := limits.current.retries[scope].invalid_in_row
	input.facts.retries[scope].invalid_in_row >= limit
	reason := reasons.from_rule(rego.metadata.chain(), {"scope": scope, "limit": limit})
}

# METADATA
# title: The retry budget is spent
# description: |
#   For the first attempts that there were, so many failed or were invalid that there are no more retries, as gRPC's
#   retry throttling has it (proposal A6)
# custom:
#   code: retries.budget_spent
deny contains reason if {
	_noted
	input.facts.retries.operation.attempts > 1
	some scope in ["agent", "session", "tool"]
	_spent(scope)
	metadata := {"scope": scope, "limit_percent": limits.current.retries[scope].percent}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

_set if {
	limits.are_set(limits.current.retries, {
		"agent": {"first_attempts", "invalid_in_row", "percent"},
		"operation": {"failures", "longest_wait_seconds", "wait_from_failure", "wait_seconds"},
		"session": {"first_attempts", "invalid_in_row", "percent"},
		"tool": {"first_attempts", "percent"},
	})
}

_measured if {
	operation := input.facts.retries.operation
	facts.are_counts([operation.attempts, operation.failed_in_row])
	is_number(operation.seconds_since_failure)
	every scope in ["agent", "session", "tool"] {
		tried := input.facts.retries[scope]
		facts.are_counts([tried.first_attempts, tried.invalid_ratio, tried.failed_ratio, tried.invalid_in_row])
	}
}

# Whether there is anything to look at. Mostly there is not, and then this is all that the topic costs.
_noted if not _first_and_valid

_first_and_valid if {
	input.facts.retries.operation.attempts == 1
	input.facts.retries.session.invalid_in_row == 0
	input.facts.retries.agent.invalid_in_row == 0
}

# Seconds from the last failure to the next attempt, and the same until that fails too.
_wait := seconds * (1 - (jitter.share(_operation) / 2)) if {
	_set
	_measured
	at := limits.current.retries.operation
	doublings := input.facts.retries.operation.failed_in_row - at.wait_from_failure
	doublings >= 0
	seconds := min([at.longest_wait_seconds, bits.lsh(at.wait_seconds, min([doublings, _most_doublings]))])
}

_operation := [object.get(input, path, "") |
	some path in [["subject", "agent"], ["context", "session_id"], ["arguments_digest"]]
]

_most_doublings := 30

_spent(scope) if {
	_set
	_measured
	tried := input.facts.retries[scope]
	at := limits.current.retries[scope]
	tried.first_attempts >= at.first_attempts
	100 * (tried.failed_ratio + tried.invalid_ratio) > at.percent
}
