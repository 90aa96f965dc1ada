# METADATA
# title: Obligations
# description: |
#   What an allowed call is done under, besides its timeout: what the policy data states for every call, for the tool's
#   effects, labels and results, and for the subject's roles
package interlock.rules.obligations

import data.interlock.reasons

# METADATA
# title: Obligations are not well-formed
# description: |
#   The policy data lacks a group of obligations, or states for this call one that no gateway knows or that lacks a
#   parameter
# custom:
#   code: obligations.malformed
deny contains reason if {
	not _well_formed
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Stated for the call
# description: For every call, and by the tool's effects, labels and results, and by the subject's roles
obligation contains stated if {
	some list in _lists
	some stated in list
}

_stated := data.limits.obligations

_lists contains _stated.every_call

_lists contains _stated.effects[effect] if some effect in input.tool.effects

_lists contains _stated.labels[label][value] if some label, value in input.tool.labels

_lists contains _stated.results[input.tool.results]

_lists contains _stated.roles[role] if some role in input.subject.roles

_well_formed if {
	{"every_call": _, "effects": effects, "labels": labels, "results": results, "roles": roles} := _stated
	is_object(effects)
	is_object(labels)
	is_object(results)
	is_object(roles)
	every label, _ in input.tool.labels {
		is_object(object.get(labels, label, {}))
	}
	every list in _lists {
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
