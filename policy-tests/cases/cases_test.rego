# METADATA
# title: Golden cases
# description: |
#   Every case under cases/ goes through the entry point. A case's `given` is laid over the base input;
#   `codes` is compared whole; `paths`, `obligations` and `reservations` where the case states them. What is denied or
#   escalated reserves nothing.
package tests.cases_test

import data.interlock.decision

test_case[name] if {
	some topic, cases in data.cases
	some case_name, expected in cases
	name := $"{topic}: {case_name}"
	got := decision.result with input as _input(expected)

	got.verdict == expected.want.verdict
	sort([reason.code | some reason in got.reasons]) == sort(expected.want.codes)
	_paths(got) == object.get(expected.want, "paths", _paths(got))
	got.obligations == {wanted | some wanted in object.get(expected.want, "obligations", got.obligations)}
	got.reservations == {wanted | some wanted in object.get(expected.want, "reservations", _unstated(got))}
}

test_batch_keeps_order if {
	inputs := [_input(expected) | some cases in data.cases; some expected in cases]
	got := decision.batch with input as {"batch": inputs}

	got == [answer | some one in inputs; answer := decision.result with input as one]
	count(got) == count(inputs)
}

_input(expected) := object.union(data.base, expected.given)

# What a case that states no reservations may reserve.
_unstated(got) := got.reservations if got.verdict == "allow"

else := set()

_paths(answer) := sort([reason.path | some reason in answer.reasons; reason.path])
