# METADATA
# title: Reasons
# description: Builds the reason that a rule gives, from the annotations of the rule itself
package interlock.reasons

# METADATA
# description: Reason for the rule whose metadata chain is given, so that code and text stand in one place
from_rule(chain, metadata) := {
	"code": chain[0].annotations.custom.code,
	"message": chain[0].annotations.title,
	"metadata": metadata,
}

# METADATA
# description: Reason that applies to one place in the arguments; `path` is its JSON Pointer (RFC 6901)
from_rule_at(chain, metadata, path) := object.union(from_rule(chain, metadata), {"path": path})
