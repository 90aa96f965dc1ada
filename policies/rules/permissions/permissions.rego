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
	count(roles.known) == 0
	reason := reasons.from_rule(rego.metadata.chain(), {"roles": sort(roles.claimed)})
}

# METADATA
# title: Tool not granted
# description: The tool exists, but none of the subject's roles may propose it
# custom:
#   code: permissions.tool_not_granted
deny contains reason if {
	input.tool.known
	count(roles.known) > 0
	count(roles.granting) == 0
	reason := reasons.from_rule(rego.metadata.chain(), {"roles": sort(roles.known)})
}
