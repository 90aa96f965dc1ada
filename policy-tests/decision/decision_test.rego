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

_answer(codes) := {"code": "approvals.approved", "message": "Approved", "metadata": {"codes": codes}}

test_answer_allows_what_it_answers if {
	rules := {"approvals": {"answer": {_answer(["topic.name"])}, "reserve": {_budget}}, "one": {"escalate": {_reason}}}
	got := decision.result with data.interlock.rules as rules
	got == {
		"verdict": "allow",
		"reasons": {_answer(["topic.name"])},
		"obligations": set(),
		"reservations": {_budget},
	}
}

test_answer_stands_beside_what_allows if {
	granted := object.union(_reason, {"code": "topic.granted"})
	rules := {
		"approvals": {"answer": {_answer(["topic.name", "topic.other"])}},
		"one": {"escalate": {_reason}, "allow": {granted}, "obligation": {_timeout}},
	}
	got := decision.result with data.interlock.rules as rules
	got == {
		"verdict": "allow",
		"reasons": {_answer(["topic.name", "topic.other"]), granted},
		"obligations": {_timeout},
		"reservations": set(),
	}
}

test_deny_beats_an_answer if {
	rules := {"approvals": {"answer": {_answer(["topic.name"])}}, "one": {"deny": {_reason}, "escalate": {_reason}}}
	got := decision.result with data.interlock.rules as rules
	got == {"verdict": "deny", "reasons": {_reason}, "obligations": set(), "reservations": set()}
}

test_escalate_everything_where_one_reason_is_not_answered if {
	other := object.union(_reason, {"code": "topic.other"})
	rules := {"approvals": {"answer": {_answer(["topic.name"])}}, "one": {"escalate": {_reason, other}}}
	got := decision.result with data.interlock.rules as rules
	got == {"verdict": "escalate", "reasons": {_reason, other}, "obligations": set(), "reservations": set()}
}

test_two_answers_answer_together if {
	other := object.union(_reason, {"code": "topic.other"})
	answers := {_answer(["topic.name"]), _answer(["topic.other"])}
	got := decision.result with data.interlock.rules as {"approvals": {"answer": answers}, "one": {"escalate": {_reason, other}}}
	[got.verdict, got.reasons] == ["allow", answers]
}

test_answer_without_a_question_is_none if {
	got := decision.result with data.interlock.rules as {"approvals": {"answer": {_answer(["topic.name"])}}}
	got == {"verdict": "deny", "reasons": set(), "obligations": set(), "reservations": set()}
}

test_answer_is_no_reason_of_an_allow_that_nobody_was_asked_about if {
	rules := {"approvals": {"answer": {_answer(["topic.name"])}}, "one": {"allow": {_reason}}}
	got := decision.result with data.interlock.rules as rules
	[got.verdict, got.reasons] == ["allow", {_reason}]
}

# A topic that lets through what people have not seen would be a second way to a token.
test_answer_of_another_topic_is_none if {
	rules := {"one": {"escalate": {_reason}, "answer": {_answer(["topic.name"])}}}
	got := decision.result with data.interlock.rules as rules
	[got.verdict, got.reasons] == ["escalate", {_reason}]
}

test_answer_that_names_no_code_answers_nothing[name] if {
	some name, answer in {
		"other code": _answer(["topic.nam"]),
		"in another case": _answer(["Topic.name"]),
		"no codes": _answer([]),
		"codes are text": _answer("topic.name"),
		"codes are null": _answer(null),
		"no metadata": {"code": "approvals.approved", "message": "Approved"},
	}
	got := decision.result with data.interlock.rules as {"approvals": {"answer": {answer}}, "one": {"escalate": {_reason}}}
	[got.verdict, got.reasons] == ["escalate", {_reason}]
}
