# METADATA
# title: Budgets
# description: |
#   What an allowed call takes of what its session, agent and tenant may use. Where something is lacking, the service
#   turns the allow into a deny
package interlock.rules.budgets

import data.interlock.limits
import data.interlock.reasons

# METADATA
# title: Budgets are not set
# description: The policy data lacks a limit, or an override sets what is none
# custom:
#   code: budgets.not_set
deny contains reason if {
	_noted
	not _set
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: The tool's entry is not known
# description: The tool's cost is no number or its labels are no object, so nobody can say what the call would take
# custom:
#   code: budgets.entry_unknown
deny contains reason if {
	_noted
	not _entry_known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Nothing to lease
# description: |
#   The tool's label `lease` names an argument whose value only one call at a time may use, and the call has no such
#   argument, or one that is too long
# custom:
#   code: budgets.nothing_to_lease
deny contains reason if {
	argument := input.tool.labels.lease
	not _leased
	reason := reasons.from_rule(rego.metadata.chain(), {"argument": argument})
}

# METADATA
# title: Calls of the session
# description: One of so many in all of the session
reserve contains {
	"type": "budget",
	"scope": "session",
	"unit": "calls",
	"amount": 1,
	"limit": limits.current.budgets.session.calls,
	"window": "whole",
	"window_seconds": 0,
}

# METADATA
# title: Cost of the session
# description: What the call costs, of so much in all of the session
reserve contains {
	"type": "budget",
	"scope": "session",
	"unit": "cost",
	"amount": input.tool.cost,
	"limit": limits.current.budgets.session.cost,
	"window": "whole",
	"window_seconds": 0,
}

# METADATA
# title: Calls of the agent in an hour
# description: One of so many in any 3600 seconds, over all of the agent's sessions
reserve contains {
	"type": "budget",
	"scope": "agent",
	"unit": "calls",
	"amount": 1,
	"limit": limits.current.budgets.agent.calls_an_hour,
	"window": "sliding",
	"window_seconds": 3600,
}

# METADATA
# title: Rate of the agent's calls
# description: So many in a minute, evenly, with some in a burst
reserve contains {
	"type": "rate",
	"scope": "agent",
	"limit": limits.current.budgets.agent.calls_a_minute,
	"period_seconds": 60,
	"burst": limits.current.budgets.agent.calls_in_a_burst,
}

# METADATA
# title: Calls of the agent at once
# description: One of so many that may run at the same time
reserve contains {
	"type": "concurrency",
	"scope": "agent",
	"limit": limits.current.budgets.agent.calls_at_once,
}

# METADATA
# title: Cost of the tenant in a day
# description: What the call costs, of so much in a day (UTC) by all of the tenant's agents
reserve contains {
	"type": "budget",
	"scope": "tenant",
	"unit": "cost",
	"amount": input.tool.cost,
	"limit": limits.current.budgets.tenant.cost_a_day,
	"window": "tumbling",
	"window_seconds": 86400,
}

# METADATA
# title: Exclusive use
# description: The call has what the argument that the label `lease` names stands for to itself
reserve contains {"type": "lease", "resource": _leased}

# Whether anything is missing that reservations are made of.
_noted if not _complete

_complete if {
	_entry_known
	_set
}

_entry_known if {
	is_number(input.tool.cost)
	input.tool.cost >= 0
	is_object(input.tool.labels)
}

_set if {
	{"agent": agent, "session": {"calls": calls, "cost": cost}, "tenant": {"cost_a_day": a_day}} := limits.current.budgets
	{"calls_a_minute": a_minute, "calls_an_hour": an_hour, "calls_at_once": at_once, "calls_in_a_burst": burst} := agent
	numbers := [a_minute, an_hour, at_once, burst, calls, cost, a_day]
	min(numbers) >= 1
	max(numbers) < ""
}

_leased := resource if {
	argument := input.tool.labels.lease
	resource := json.marshal([argument, input.arguments[argument]])
	count(resource) <= _longest_resource
}

# Of what a reservation takes, in characters.
_longest_resource := 512
