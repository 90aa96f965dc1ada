package tests.jitter_test

import data.interlock.jitter

# The first byte of the SHA-256 of the salt's JSON, over 256.
test_share_of_a_salt[name] if {
	some name, expected in {
		"text": {"salt": "a", "want": 172 / 256},
		"number": {"salt": 1, "want": 107 / 256},
		"null": {"salt": null, "want": 116 / 256},
		"array": {"salt": ["agent", "session"], "want": 172 / 256},
	}
	jitter.share(expected.salt) == expected.want
}

test_share_is_below_one_and_not_below_zero if {
	every number in numbers.range(1, 1000) {
		share := jitter.share(number)
		share >= 0
		share < 1
	}
}

test_share_is_spread_evenly if {
	shares := [jitter.share(number) | some number in numbers.range(1, 1000)]
	every tenth in numbers.range(0, 9) {
		found := count([share | some share in shares; floor(share * 10) == tenth])
		found > 60
		found < 140
	}
}

test_share_does_not_depend_on_the_order_of_keys if {
	jitter.share({"a": 1, "b": 2}) == jitter.share({"b": 2, "a": 1})
}
