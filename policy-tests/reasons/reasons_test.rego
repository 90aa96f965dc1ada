package tests.reasons_test

import data.interlock.reasons

_chain := [
	{"annotations": {"title": "Too much", "custom": {"code": "topic.too_much"}}, "path": ["ignored"]},
	{"annotations": {"title": "Topic"}, "path": ["ignored"]},
]

test_reason_takes_code_and_text_from_the_rule_itself if {
	got := reasons.from_rule(_chain, {"limit": 3})
	got == {"code": "topic.too_much", "message": "Too much", "metadata": {"limit": 3}}
}

test_reason_with_a_place if {
	got := reasons.from_rule_at(_chain, {}, "/a/0")
	got == {"code": "topic.too_much", "message": "Too much", "metadata": {}, "path": "/a/0"}
}
