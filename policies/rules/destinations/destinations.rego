# METADATA
# title: Destinations
# description: |
#   Where the arguments lead that name a web address or a file, as the service found it: an argument that leads
#   nowhere good is denied, whatever it says
package interlock.rules.destinations

import data.interlock.reasons

# METADATA
# title: Destinations are not known
# description: The input does not say, in the terms that the policy knows, where the arguments lead
# custom:
#   code: destinations.not_known
deny contains reason if {
	not _known
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Not an address or a path of the one form
# description: |
#   What the argument says can be read in more than one way (percent-encoded, with a backslash, an invisible character,
#   a `..` after a link), or a relative path could be under several roots; write it out in full
# custom:
#   code: destinations.malformed
deny contains reason if {
	some destination in _told
	destination.problem == "malformed"
	reason := reasons.from_rule_at(rego.metadata.chain(), {}, destination.path)
}

# METADATA
# title: The path leads out of the declared folders
# description: The file is not under a root of the catalog, or a symbolic link on the way leads out of it
# custom:
#   code: destinations.outside_roots
deny contains reason if {
	some destination in _told
	destination.problem == "outside_roots"
	reason := reasons.from_rule_at(rego.metadata.chain(), {}, destination.path)
}

# METADATA
# title: The address is not a public one
# description: It is one of this machine, of a private network or of no host, and the policy data does not name it
# custom:
#   code: destinations.not_public
deny contains reason if {
	some destination in _told
	destination.problem == "not_public"
	not _named(destination)
	reason := reasons.from_rule_at(rego.metadata.chain(), {}, destination.path)
}

_known if {
	is_array(input.destinations)
	every destination in input.destinations {
		destination.problem in {"", "malformed", "not_public", "outside_roots"}
		is_string(destination.path)
	}
}

# Of any other, which `not_known` denies, a reason could not say where it applies.
_told := [destination | some destination in input.destinations; is_string(destination.path)]

# With an absent host, `not … in …` itself would be undefined, and its deny would vanish.
_named(destination) if destination.host in _not_public_hosts

default _not_public_hosts := []

_not_public_hosts := data.limits.destinations.not_public_hosts if {
	is_array(data.limits.destinations.not_public_hosts)
}
