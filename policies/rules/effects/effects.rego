# METADATA
# title: Effects
# description: What a role may do without a person, and what a person must look at
package interlock.rules.effects

import data.interlock.reasons
import data.interlock.roles

# METADATA
# title: Effects not declared
# description: The catalog does not say what the tool does to the world, so nobody can have granted it
# custom:
#   code: effects.not_declared
deny contains reason if {
	input.tool.known
	count(_declared) == 0
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Unknown effect
# description: The tool has an effect that no policy speaks of
# custom:
#   code: effects.unknown_effect
deny contains reason if {
	some effect in _unknown
	reason := reasons.from_rule(rego.metadata.chain(), {"effect": effect})
}

# METADATA
# title: A person must approve this effect
# description: The subject may propose the tool, but no role that grants the tool grants all of its effects
# custom:
#   code: effects.needs_person
#   change:
#     always_approved: |
#       # roles/data.yaml: the effect that is always approved, for the role of the agents that have it
#       contributor: {effects: [read, write]}
#     always_denied: |
#       # roles/data.yaml: the role's tools, without the one that is always denied
#       contributor: {tools: [git_add, git_diff, git_log, git_status]}
escalate contains reason if {
	count(_ungranted) > 0
	count(roles.granting) > 0
	reason := reasons.from_rule(rego.metadata.chain(), {"effects": sort(_ungranted)})
}

# METADATA
# title: Reading is granted
# description: The tool does nothing but read, and a role of the subject grants that
# custom:
#   code: effects.read_granted
allow contains reason if {
	_granted
	_declared == {"read"}
	reason := reasons.from_rule(rego.metadata.chain(), {"roles": sort(roles.granting)})
}

# METADATA
# title: All effects are granted
# description: The tool changes something, and the subject's roles grant each of its effects
# custom:
#   code: effects.granted
allow contains reason if {
	_granted
	_declared != {"read"}
	metadata := {"effects": sort(_declared), "roles": sort(roles.granting)}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

_vocabulary := {"read", "write", "delete", "send", "pay", "execute"}

_declared := {effect | some effect in input.tool.effects}

_unknown := _declared - _vocabulary

_ungranted := _declared - roles.effects

# An effect is needed for a grant, so that an absent field can only take one away.
_granted if {
	count(_declared) > 0
	count(_unknown) == 0
	count(_ungranted) == 0
}
