# METADATA
# title: Permissions
# description: Which tools the subject's roles may propose at all
package interlock.rules.permissions

import data.interlock.reasons
import data.interlock.roles

# METADATA
# title: No known role
# description: None of the subject's roles is defined in the policy data
# custom:
#   code: permissions.no_role
deny contains reason if {
	count(roles.granting) == 0 # nearly always there is one, and then nobody need look for more
	count(roles.known) == 0
	reason := reasons.from_rule(rego.metadata.chain(), {"roles": sort(roles.claimed)})
}

# METADATA
# title: Tool not granted
# description: The tool exists, but none of the subject's roles may propose it
# custom:
#   code: permissions.tool_not_granted
deny contains reason if {
	count(roles.granting) == 0
	count(roles.known) > 0
	input.tool.known
	reason := reasons.from_rule(rego.metadata.chain(), {"roles": sort(roles.known)})
}

# METADATA
# title: Not granted
# description: None of the subject's roles may propose the tool, so that it is not listed either
withhold contains "no role grants the tool" if count(roles.granting) == 0
