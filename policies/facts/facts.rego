# METADATA
# title: Facts
# description: What several topics ask of the facts
package interlock.facts

# METADATA
# description: All are numbers, and none is below zero. One that is absent leaves this undefined
are_counts(values) if {
	# Rego's order: null, booleans, numbers, text, and then all else.
	min(values) >= 0
	max(values) < ""
}
