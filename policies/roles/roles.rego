# METADATA
# title: Roles
# description: |
#   What the subject's roles grant for the proposed tool. Every rule is defined for every input: a field that
#   is absent leaves a set of grants empty, never fuller.
package interlock.roles

# METADATA
# description: The roles that the subject has, defined or not
claimed := {name | some name in input.subject.roles}

# METADATA
# description: The subject's roles that the policy data defines
known := {name |
	some name in input.subject.roles
	data.roles[name]
}

# METADATA
# description: The subject's roles that may propose the tool at all
granting := {name |
	some name in input.subject.roles
	input.tool.name in data.roles[name].tools
}

# METADATA
# description: The effects that the subject may have with the tool without a person; no role lends them to another tool
effects := {effect |
	some name in granting
	some effect in data.roles[name].effects
}
