package tests.decision_test

import data.interlock.decision

_reason := {"code": "topic.name", "message": "Name", "metadata": {}}

_timeout := {"type": "timeout", "seconds": 1}

_budget := {"type": "budget", "amount": 1}

test_deny_beats_escalate_and_allow if {
	rules := {"one": {"deny": {_reason}}, "two": {"escalate": {_reason}, "allow": {_reason}}}
	got := decision.result with data.interlock.rules as rules
	got == {"verdict": "deny", "reasons": {_reason}, "obligations": set(), "reservations": set()}
}

test_escalate_beats_allow if {
	rules := {"one": {"allow": {_reason}}, "two": {"escalate": {_reason}}}
	got := decision.result with data.interlock.rules as rules
	got == {"verdict": "escalate", "reasons": {_reason}, "obligations": set(), "reservations": set()}
}

test_allow_carries_obligations_and_reservations if {
	rules := {"one": {"allow": {_reason}, "reserve": {_budget}}, "two": {"obligation": {_timeout}}}
	got := decision.result with data.interlock.rules as rules
	got == {"verdict": "allow", "reasons": {_reason}, "obligations": {_timeout}, "reservations": {_budget}}
}

test_deny_and_escalate_oblige_to_nothing[verdict] if {
	some verdict in ["deny", "escalate"]
	rules := {"one": {verdict: {_reason}, "obligation": {_timeout}, "reserve": {_budget}}}
	got := decision.result with data.interlock.rules as rules
	got == {"verdict": verdict, "reasons": {_reason}, "obligations": set(), "reservations": set()}
}

test_deny_by_default_when_no_rule_speaks if {
	got := decision.result with data.interlock.rules as {"one": {"obligation": {_timeout}}}
	got == {"verdict": "deny", "reasons": set(), "obligations": set(), "reservations": set()}
}

test_deny_when_there_is_no_rule_at_all if {
	got := decision.result with data.interlock.rules as {}
	got.verdict == "deny"
}

test_deny_what_is_no_input[name] if {
	some name, given in {"null": null, "text": "allow", "array": [], "empty object": {}}
	got := decision.result with input as given
	got.verdict == "deny"
}

test_batch_answers_every_item_even_what_is_no_input if {
	got := decision.batch with input as {"batch": [null, data.base, {}, "allow"]}
	[answer.verdict | some answer in got] == ["deny", "allow", "deny", "deny"]
}

test_batch_is_empty_when_input_has_none if {
	got := decision.batch with input as {}
	got == []
}

test_offer_what_no_topic_withholds if {
	got := decision.offered with data.interlock.rules as {"one": {"withhold": set()}, "two": {"deny": {_reason}}}
		with input as {"batch": [{}, {}]}
	got == [true, true]
}

test_withhold_what_one_topic_withholds if {
	got := decision.offered with data.interlock.rules as {"one": {"withhold": set()}, "two": {"withhold": {"why"}}}
		with input as {"batch": [{}]}
	got == [false]
}

test_withhold_everything_where_no_topic_knows_of_withholding[name] if {
	some name, rules in {"none": {}, "others": {"one": {"allow": {_reason}}}}
	got := decision.offered with data.interlock.rules as rules with input as {"batch": [{}, null]}
	got == [false, false]
}

test_withhold_what_is_no_input if {
	got := decision.offered with input as {"batch": [null, data.base, {}, "allow"]}
	got == [false, true, false, false]
}

test_offer_nothing_when_input_has_no_batch if {
	got := decision.offered with input as {}
	got == []
}
