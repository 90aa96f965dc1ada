# METADATA
# title: Obligations
# description: |
#   What an allowed call is done under, besides its timeout: what the policy data states for every call, for the tool's
#   effects, labels and results, and for the subject's roles
package interlock.rules.obligations

import data.interlock.reasons

# METADATA
# title: Obligations are not well-formed
# description: The policy data lacks a group of obligations, or states one that no gateway knows or that lacks a parameter
# custom:
#   code: obligations.malformed
deny contains reason if {
	not _well_formed
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Every call
# description: What is stated for all calls
obligation contains stated if some stated in _stated.every_call

# METADATA
# title: By effect
# description: What is stated for an effect of the tool
obligation contains stated if {
	some effect in input.tool.effects
	some stated in _stated.effects[effect]
}

# METADATA
# title: By label
# description: What is stated for a label of the tool, as the catalog has it, and its value
obligation contains stated if {
	some label, value in input.tool.labels
	some stated in _stated.labels[label][value]
}

# METADATA
# title: By what results are worth
# description: What is stated for tools whose results are trusted, or untrusted
obligation contains stated if some stated in _stated.results[input.tool.results]

# METADATA
# title: By role
# description: What is stated for a role of the subject
obligation contains stated if {
	some role in input.subject.roles
	some stated in _stated.roles[role]
}

_stated := data.limits.obligations

_well_formed if {
	object.keys(_stated) == {"every_call", "effects", "labels", "results", "roles"}
	every group in [_stated.effects, _stated.results, _stated.roles] {
		_holds_lists(group)
	}
	is_object(_stated.labels)
	every values in _stated.labels {
		_holds_lists(values)
	}
	_is_list(_stated.every_call)
}

_holds_lists(group) if {
	is_object(group)
	every list in group {
		_is_list(list)
	}
}

_is_list(list) if {
	is_array(list)
	every stated in list {
		_is_obligation(stated)
	}
}

_is_obligation(stated) if {
	named := object.keys(stated) - {"type"}
	parameters := _parameters[stated.type]
	count(named - (parameters.needed | parameters.allowed)) == 0
	count(parameters.needed - named) == 0
}

# docs/obligations.md tells what each means.
_parameters := {
	"drop_fields": {"needed": {"pointers"}, "allowed": set()},
	"dry_run": {"needed": set(), "allowed": set()},
	"max_result_bytes": {"needed": {"bytes"}, "allowed": set()},
	"redact_result": {"needed": set(), "allowed": {"patterns", "pointers"}},
	"require_idempotency_key": {"needed": set(), "allowed": set()},
	"sandbox": {"needed": set(), "allowed": {"network", "writable"}},
	"timeout": {"needed": {"seconds"}, "allowed": set()},
}
