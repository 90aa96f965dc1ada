# METADATA
# title: Jitter
# description: |
#   Spreads what many would do at the same time. It looks like chance and is none: a decision replays (invariant 7).
package interlock.jitter

# METADATA
# description: From 0 up to 255/256, and always the same for one `salt`, which may be any value
share(salt) := ((16 * high) + low) / 256 if {
	digest := crypto.sha256(json.marshal(salt))
	high := indexof(_digits, substring(digest, 0, 1))
	low := indexof(_digits, substring(digest, 1, 1))
}

_digits := "0123456789abcdef"
