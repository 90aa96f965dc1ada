package tests.rules.plans_test

import data.interlock.rules.plans

_limits := {
	"plans": {"shape": {"steps": 10, "steps_in_a_row": 4}},
	"overrides": {"roles": {}, "tenants": {}},
}

_plan := {
	"decision_id": "plan-1",
	"digest": "plan-digest",
	"step": "last",
	"steps": 10,
	"position": 9,
	"depth": 3,
	"after": ["first"],
	"refers": false,
	"filled": false,
}

_given(changes) := object.union(data.base, {"plan": object.union(_plan, changes)})

test_pass_at_the_limits if {
	got := plans.deny with data.limits as _limits with input as _given({})
	got == set()
}

test_pass_single_calls_whatever_the_limits if {
	got := plans.deny with data.limits as {"overrides": {"roles": {}, "tenants": {}}} with input as data.base
	got == set()
}

test_deny_too_many_steps if {
	got := plans.deny with data.limits as _limits with input as _given({"steps": 11})
	got == {{
		"code": "plans.too_many_steps",
		"message": "Too many steps",
		"metadata": {"limit": 10},
	}}
}

test_deny_too_deep if {
	got := plans.deny with data.limits as _limits with input as _given({"depth": 4})
	got == {{
		"code": "plans.too_deep",
		"message": "Too many steps in a row",
		"metadata": {"limit": 4},
	}}
}

test_deny_when_the_limits_are_not_set[name] if {
	some name, set in {
		"nothing": {},
		"no steps": {"shape": {"steps_in_a_row": 4}},
		"zero": {"shape": {"steps": 0, "steps_in_a_row": 4}},
		"text": {"shape": {"steps": "10", "steps_in_a_row": 4}},
		"null": null,
	}
	got := plans.deny with data.limits as object.union(object.remove(_limits, ["plans"]), {"plans": set})
		with input as _given({"steps": 0, "depth": 0})
	{reason.code | some reason in got} & {"plans.not_set"} == {"plans.not_set"}
}

test_deny_when_nothing_says_where_the_step_stands[name] if {
	some name, given in {
		"no field": object.remove(data.base, ["plan"]),
		"text": object.union(data.base, {"plan": "plan-1"}),
		"no depth": object.union(data.base, {"plan": object.remove(_plan, ["depth"])}),
		"steps are null": _given({"steps": null}),
		"position is text": _given({"position": "9"}),
	}
	got := plans.deny with data.limits as _limits with input as given
	{reason.code | some reason in got} & {"plans.not_known"} == {"plans.not_known"}
}
