# METADATA
# title: Breakers
# description: |
#   A tool that fails or is slow is left alone for a while, by everybody of the tenant. Then one call at a time may
#   try whether it works again
package interlock.rules.breakers

import data.interlock.jitter
import data.interlock.limits
import data.interlock.reasons

# METADATA
# title: Limits of breakers are not set
# description: The policy data lacks a limit, or an override sets what is none
# custom:
#   code: breakers.not_set
deny contains reason if {
	not _terms
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: The state of the breaker is not known
# description: The facts do not say, in the terms that the policy knows, whether the tool works
# custom:
#   code: breakers.not_measured
deny contains reason if {
	not _known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: The breaker is open
# description: Calls of the tool failed or were slow, so for a while nobody may call it
# custom:
#   code: breakers.open
deny contains reason if {
	input.facts.breaker.state == "open"
	_terms
	later := limits.current.breakers.callers.jitter_seconds * jitter.share(_caller)
	metadata := {"retry_after_seconds": _until_half_open + (round(later * 1000) / 1000)}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

# METADATA
# title: The outcome moves the breaker
# description: On these terms the tool's breaker opens. Where it is half open, the call must be the one probe
reserve contains object.union(_terms, {"type": "breaker", "probe": probe}) if {
	probe := input.facts.breaker.state == "half_open"
}

# The numbers of the reservation.
_terms := limits.current.breakers.tool if {
	{"callers": {"jitter_seconds": jitter_seconds}, "tool": {
		"failure_percent": failure_percent, "minimum_calls": minimum_calls, "open_seconds": open_seconds,
		"slow_milliseconds": slow_milliseconds, "slow_percent": slow_percent, "window_seconds": window_seconds,
	}} := limits.current.breakers
	numbers := [
		jitter_seconds, failure_percent, minimum_calls, open_seconds,
		slow_milliseconds, slow_percent, window_seconds,
	]
	min(numbers) >= 1
	max(numbers) < ""
}

_known if input.facts.breaker.state in {"closed", "half_open", "open"}

default _until_half_open := 0

_until_half_open := input.facts.breaker.seconds_until_half_open if {
	is_number(input.facts.breaker.seconds_until_half_open)
}

# With each opening, everybody comes back at another time.
_caller := [object.get(input, path, "") |
	some path in [["subject", "agent"], ["context", "session_id"], ["tool", "name"], ["facts", "breaker", "opened"]]
]
