package tests.rules.timeouts_test

import data.interlock.rules.timeouts

test_oblige_to_the_timeout_of_the_policy_data if {
	got := timeouts.obligation with data.limits.timeouts.seconds as 12
	got == {{"type": "timeout", "seconds": 12}}
}

test_pass_when_a_timeout_is_set if {
	timeouts.deny == set()
}

test_deny_when_no_timeout_is_set[name] if {
	some name, limits in {
		"nothing set": {},
		"zero": {"timeouts": {"seconds": 0}},
		"negative": {"timeouts": {"seconds": -1}},
		"text": {"timeouts": {"seconds": "30"}},
		"null": {"timeouts": {"seconds": null}},
	}
	got := timeouts.deny with data.limits as limits
	got == {{
		"code": "timeouts.not_set",
		"message": "No timeout is set",
		"metadata": {},
	}}
}
