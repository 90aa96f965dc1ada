# METADATA
# title: Freezes
# description: Nothing that an operator froze is allowed while the freeze lasts
package interlock.rules.freezes

import data.interlock.reasons

# METADATA
# title: Frozen by an operator
# description: A freeze of all tenants, of the tenant, of the agent or of the tool covers the call, one reason for each
# custom:
#   code: freezes.active
deny contains reason if {
	some freeze in input.facts.freezes
	reason := reasons.from_rule(rego.metadata.chain(), _told(freeze))
}

# METADATA
# title: Freezes are not known
# description: The facts do not say, in the terms that the policy knows, what is frozen
# custom:
#   code: freezes.not_known
deny contains reason if {
	not _known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# A negation of the call itself would be undefined where the fact is absent, and so deny nothing.
_known if is_array(input.facts.freezes)

# The agent is told which freeze it is, not what the operator said of it.
_told(freeze) := object.filter(freeze, ["scope", "log_index"]) if is_object(freeze)

# A freeze that nobody understands is one.
_told(freeze) := {} if not is_object(freeze)
