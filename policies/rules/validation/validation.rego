# METADATA
# title: Validation
# description: A proposal that does not fit the catalog is denied, and told what to repair
package interlock.rules.validation

import data.interlock.reasons

# METADATA
# title: Unknown tool
# description: The catalog has no tool of this name
# custom:
#   code: validation.unknown_tool
deny contains reason if {
	_unknown_tool
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Arguments do not fit the tool's schema
# description: One reason for each violation, with the JSON Pointer of the argument and the rule that it breaks
# custom:
#   code: validation.schema
deny contains reason if {
	some violation in input.facts.violations
	_breaks_schema(violation)
	metadata := {"rule": violation.rule, "message": violation.message}
	reason := reasons.from_rule_at(rego.metadata.chain(), metadata, violation.path)
}

# METADATA
# title: Arguments were not checked
# description: The facts do not say, in the terms that the policy knows, whether the arguments fit the schema
# custom:
#   code: validation.not_checked
deny contains reason if {
	not _checked
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

_unknown_tool if not input.tool.known == true

_unknown_tool if {
	some violation in input.facts.violations
	violation.code == "unknown_tool"
}

_checked if input.facts.violations == []

_checked if {
	is_array(input.facts.violations)
	every violation in input.facts.violations {
		_understood(violation)
	}
}

_understood(violation) if violation.code == "unknown_tool"

_understood(violation) if _breaks_schema(violation)

# A violation that lacks a part would give no reason, and so deny nothing: it is not understood then.
_breaks_schema(violation) if {
	violation.code == "schema"
	is_string(violation.path)
	is_string(violation.rule)
	is_string(violation.message)
}
