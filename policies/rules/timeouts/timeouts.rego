# METADATA
# title: Timeouts
# description: No allowed call runs without an end
package interlock.rules.timeouts

import data.interlock.reasons

# METADATA
# title: No timeout is set
# description: The policy data names no number of seconds above zero, so a call could run without an end
# custom:
#   code: timeouts.not_set
deny contains reason if {
	not _seconds
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Calls are bounded in time
# description: The gateway gives up on a call after the seconds that the policy data names
obligation contains {"type": "timeout", "seconds": _seconds}

_seconds := data.limits.timeouts.seconds if {
	is_number(data.limits.timeouts.seconds)
	data.limits.timeouts.seconds > 0
}
