package tests.rules.loops_test

import data.interlock.rules.loops

_limits := {
	"loops": {
		"session": {
			"no_progress": 3,
			"repeated_effect": 4,
			"same_call": 6,
			"cycle": 3,
			"similar_call": 8,
			"similar_call_denied": 12,
			"steps": 20,
			"steps_denied": 30,
		},
		"agent": {
			"no_progress": 5,
			"repeated_effect": 7,
			"same_call": 9,
			"cycle": 5,
			"similar_call": 14,
			"similar_call_denied": 18,
		},
		"nesting": {"depth": 4},
	},
	"overrides": {"roles": {}, "tenants": {}},
}

_given(counted) := object.union(data.base, {"facts": {"loops": counted}})

# A repeated call, so that all of the topic is looked at, and too few times for any limit.
_repeated := _given({"session": {"same_call": 2, "similar_call": 2}, "agent": {"same_call": 2, "similar_call": 2}})

_writing(counted) := object.union(_given(counted), {"tool": {"effects": ["write"]}})

_without(given, path) := json.patch(given, [{"op": "remove", "path": path}])

_with(given, path, value) := json.patch(given, [{"op": "add", "path": path, "value": value}])

_at_the_limit_of_a_deny := {
	"no progress in the session": {
		"counted": {"session": {"same_call": 3, "same_call_same_result": 3}},
		"code": "loops.no_progress",
		"message": "No progress",
		"metadata": {"scope": "session", "limit": 3},
	},
	"no progress of the agent": {
		"counted": {"agent": {"same_call": 5, "same_call_same_result": 5}},
		"code": "loops.no_progress",
		"message": "No progress",
		"metadata": {"scope": "agent", "limit": 5},
	},
	"the same call in the session": {
		"counted": {"session": {"same_call": 6}},
		"code": "loops.same_call",
		"message": "The same call too often",
		"metadata": {"scope": "session", "limit": 6},
	},
	"the same call of the agent": {
		"counted": {"agent": {"same_call": 9}},
		"code": "loops.same_call",
		"message": "The same call too often",
		"metadata": {"scope": "agent", "limit": 9},
	},
	"cycle in the session": {
		"counted": {"session": {"same_call": 3, "cycle": {"length": 2, "count": 3}}},
		"code": "loops.cycle",
		"message": "A cycle of calls",
		"metadata": {"scope": "session", "limit": 3, "length": 2},
	},
	"cycle of the agent": {
		"counted": {"agent": {"same_call": 5, "cycle": {"length": 8, "count": 5}}},
		"code": "loops.cycle",
		"message": "A cycle of calls",
		"metadata": {"scope": "agent", "limit": 5, "length": 8},
	},
	"similar calls in the session": {
		"counted": {"session": {"similar_call": 12}},
		"code": "loops.too_many_similar_calls",
		"message": "Too many similar calls",
		"metadata": {"scope": "session", "limit": 12},
	},
	"similar calls of the agent": {
		"counted": {"agent": {"similar_call": 18}},
		"code": "loops.too_many_similar_calls",
		"message": "Too many similar calls",
		"metadata": {"scope": "agent", "limit": 18},
	},
	"steps of the session": {
		"counted": {"session": {"steps": 30}},
		"code": "loops.too_many_steps",
		"message": "Too many steps",
		"metadata": {"scope": "session", "limit": 30},
	},
	"depth": {
		"counted": {"depth": 5},
		"code": "loops.too_deep",
		"message": "Nested too deeply",
		"metadata": {"limit": 4},
	},
}

test_deny_at_the_limit[name] if {
	some name, expected in _at_the_limit_of_a_deny
	got := loops.deny with data.limits as _limits with input as _given(expected.counted)
	got == {object.remove(expected, ["counted"])}
}

test_deny_far_above_the_limit[name] if {
	some name, expected in {
		"no progress": {"counted": {"session": {"same_call": 5, "same_call_same_result": 5}}, "code": "loops.no_progress"},
		"the same call": {"counted": {"session": {"same_call": 128}}, "code": "loops.same_call"},
		"cycle": {"counted": {"session": {"same_call": 5, "cycle": {"length": 3, "count": 42}}}, "code": "loops.cycle"},
		"similar calls": {"counted": {"agent": {"similar_call": 128}}, "code": "loops.too_many_similar_calls"},
		"steps": {"counted": {"session": {"steps": 1000000}}, "code": "loops.too_many_steps"},
		"depth": {"counted": {"depth": 64}, "code": "loops.too_deep"},
	}
	got := loops.deny with data.limits as _limits with input as _given(expected.counted)
	{reason.code | some reason in got} == {expected.code}
}

test_pass_just_below_the_limit_of_a_deny[name] if {
	some name, counted in {
		"no progress in the session": {"session": {"same_call": 3, "same_call_same_result": 2}},
		"no progress of the agent": {"agent": {"same_call": 5, "same_call_same_result": 4}},
		"the same call in the session": {"session": {"same_call": 5}},
		"the same call of the agent": {"agent": {"same_call": 8}},
		"cycle in the session": {"session": {"same_call": 2, "cycle": {"length": 8, "count": 2}}},
		"cycle of the agent": {"agent": {"same_call": 4, "cycle": {"length": 2, "count": 4}}},
		"similar calls in the session": {"session": {"similar_call": 11}},
		"similar calls of the agent": {"agent": {"similar_call": 17}},
		"steps of the session": {"session": {"steps": 29}},
		"steps of the agent are without a limit": {"agent": {"steps": 1000000}},
		"depth": {"depth": 4},
		"first call": {},
	}
	got := loops.deny with data.limits as _limits with input as _given(counted)
	got == set()
}

test_deny_with_a_reason_for_each_loop if {
	counted := {"session": {"same_call": 6, "same_call_same_result": 6, "cycle": {"length": 2, "count": 3}}}
	got := loops.deny with data.limits as _limits with input as _given(counted)
	{reason.code | some reason in got} == {"loops.cycle", "loops.no_progress", "loops.same_call"}
}

test_deny_a_read_and_a_write_alike if {
	counted := {"session": {"same_call": 3, "same_call_same_result": 3}}
	reading := loops.deny with data.limits as _limits with input as _given(counted)
	writing := loops.deny with data.limits as _limits with input as _writing(counted)
	reading == writing
	count(writing) == 1
}

test_deny_whatever_the_tool_is_called[tool] if {
	some tool in ["git_log", "poll", "wait", "sleep", ""]
	given := object.union(
		_given({"session": {"same_call": 3, "same_call_same_result": 3}}),
		{"tool": {"name": tool}},
	)
	got := loops.deny with data.limits as _limits with input as given
	{reason.code | some reason in got} == {"loops.no_progress"}
}

test_deny_unknown_parent[name] if {
	some name, given in {
		"false": _given({"parent_known": false}),
		"null": _given({"parent_known": null}),
		"text": _given({"parent_known": "true"}),
		"number": _given({"parent_known": 1}),
		"absent": _without(data.base, "/facts/loops/parent_known"),
	}
	got := loops.deny with data.limits as _limits with input as given
	got == {{
		"code": "loops.unknown_parent",
		"message": "Unknown parent",
		"metadata": {},
	}}
}

_counts_of_calls := {
	"/facts/loops/session/same_call",
	"/facts/loops/session/same_call_same_result",
	"/facts/loops/session/similar_call",
	"/facts/loops/session/cycle/count",
	"/facts/loops/session/cycle/length",
	"/facts/loops/session/cycle",
	"/facts/loops/session/steps",
	"/facts/loops/session",
	"/facts/loops/agent/same_call",
	"/facts/loops/agent/same_call_same_result",
	"/facts/loops/agent/similar_call",
	"/facts/loops/agent/cycle/count",
	"/facts/loops/agent/cycle/length",
	"/facts/loops/agent/cycle",
	"/facts/loops/agent/steps",
	"/facts/loops/agent",
	"/facts/loops/depth",
}

_not_measured := {
	"code": "loops.not_measured",
	"message": "Loops were not measured",
	"metadata": {},
}

test_deny_repeated_call_when_a_count_is_absent[path] if {
	some path in _counts_of_calls
	got := loops.deny with data.limits as _limits with input as _without(_repeated, path)
	got == {_not_measured}
}

# Text is above each number, so that another reason may join.
test_deny_repeated_call_when_a_count_is_none[name] if {
	some path in _counts_of_calls
	some value in [null, false, true, "1", "", [], {}, -1]
	name := $"{path} is {json.marshal(value)}"
	got := loops.deny with data.limits as _limits with input as _with(_repeated, path, value)
	_not_measured in got
}

# What tells a first call from a repeated one.
_counts_of_a_first_call := {
	"/facts/loops/session/same_call",
	"/facts/loops/session/similar_call",
	"/facts/loops/session/steps",
	"/facts/loops/session",
	"/facts/loops/agent/same_call",
	"/facts/loops/agent/similar_call",
	"/facts/loops/agent",
	"/facts/loops/depth",
}

test_deny_first_call_when_a_count_is_absent[path] if {
	some path in _counts_of_a_first_call
	got := loops.deny with data.limits as _limits with input as _without(data.base, path)
	got == {_not_measured}
}

test_deny_first_call_when_a_count_is_none[name] if {
	some path in _counts_of_a_first_call
	some value in [null, false, true, "1", "", [], {}, -1]
	name := $"{path} is {json.marshal(value)}"
	got := loops.deny with data.limits as _limits with input as _with(data.base, path, value)
	_not_measured in got
}

test_deny_when_nothing_was_measured[name] if {
	some name, given in {
		"no input": {},
		"no facts": {"facts": {}},
		"loops are null": {"facts": {"loops": null}},
		"loops are empty": {"facts": {"loops": {}}},
	}
	got := loops.deny with data.limits as _limits with input as given
	{reason.code | some reason in got} == {"loops.not_measured", "loops.unknown_parent"}
}

_not_set := {
	"code": "loops.not_set",
	"message": "Limits on loops are not set",
	"metadata": {},
}

_paths_of_limits := {$"/loops/{group}/{name}" | some group, named in _limits.loops; some name, _ in named}

test_deny_repeated_call_when_a_limit_is_absent[path] if {
	some path in (_paths_of_limits | {"/loops/session", "/loops/agent", "/loops/nesting", "/loops"})
	got := loops.deny with data.limits as _without(_limits, path) with input as _repeated
	got == {_not_set}
}

# Below 1, another reason may join.
test_deny_repeated_call_when_a_limit_is_none[name] if {
	some path in _paths_of_limits
	some value in [null, false, true, "100", [], {}, 0, -1, 1.5]
	name := $"{path} is {json.marshal(value)}"
	got := loops.deny with data.limits as _with(_limits, path, value) with input as _repeated
	_not_set in got
}

test_deny_first_call_when_its_limit_is_none[name] if {
	some path in [
		"/loops/session/similar_call",
		"/loops/session/similar_call_denied",
		"/loops/session/steps",
		"/loops/session/steps_denied",
		"/loops/agent/similar_call",
		"/loops/agent/similar_call_denied",
	]
	some value in [null, false, true, 0, -1]
	name := $"{path} is {json.marshal(value)}"
	got := loops.deny with data.limits as _with(_limits, path, value) with input as data.base
	_not_set in got
}

# One number of the two is enough for a first call: the other says no less.
test_deny_first_call_when_both_its_limits_are_none[name] if {
	some path in ["/loops/session/similar_call", "/loops/session/steps", "/loops/agent/similar_call"]
	some value in ["100", [], {}]
	name := $"{path} is {json.marshal(value)}"
	limits := _with(_with(_limits, path, value), $"{path}_denied", value)
	got := loops.deny with data.limits as limits with input as data.base
	got == {_not_set}
}

test_deny_first_call_when_no_limit_is_set[path] if {
	some path in ["/loops", "/loops/session", "/loops/agent"]
	got := loops.deny with data.limits as _without(_limits, path) with input as data.base
	got == {_not_set}
}

test_deny_when_a_limit_is_misspelt[path] if {
	some path in ["/loops/session/samecall", "/loops/agent/steps", "/loops/nesting/deep", "/loops/tenant"]
	got := loops.deny with data.limits as _with(_limits, path, 1) with input as _repeated
	got == {_not_set}
}

_at_the_limit_of_a_look := {
	"repeated effect in the session": {
		"given": _writing({"session": {"same_call": 4}}),
		"code": "loops.repeated_effect",
		"message": "A person must look at a repeated effect",
		"metadata": {"scope": "session", "limit": 4},
	},
	"repeated effect of the agent": {
		"given": _writing({"agent": {"same_call": 7}}),
		"code": "loops.repeated_effect",
		"message": "A person must look at a repeated effect",
		"metadata": {"scope": "agent", "limit": 7},
	},
	"similar calls in the session": {
		"given": _given({"session": {"similar_call": 8}}),
		"code": "loops.similar_call",
		"message": "A person must look at many similar calls",
		"metadata": {"scope": "session", "limit": 8},
	},
	"similar calls of the agent": {
		"given": _given({"agent": {"similar_call": 14}}),
		"code": "loops.similar_call",
		"message": "A person must look at many similar calls",
		"metadata": {"scope": "agent", "limit": 14},
	},
	"steps of the session": {
		"given": _given({"session": {"steps": 20}}),
		"code": "loops.steps",
		"message": "A person must look at a long session",
		"metadata": {"scope": "session", "limit": 20},
	},
}

test_escalate_at_the_limit[name] if {
	some name, expected in _at_the_limit_of_a_look
	got := loops.escalate with data.limits as _limits with input as expected.given
	got == {object.remove(expected, ["given"])}
}

test_deny_nothing_at_the_limit_of_a_look[name] if {
	some name, expected in _at_the_limit_of_a_look
	got := loops.deny with data.limits as _limits with input as expected.given
	got == set()
}

test_escalate_nothing_just_below_the_limit[name] if {
	some name, given in {
		"repeated effect in the session": _writing({"session": {"same_call": 3}}),
		"repeated effect of the agent": _writing({"agent": {"same_call": 6}}),
		"similar calls in the session": _given({"session": {"similar_call": 7}}),
		"similar calls of the agent": _given({"agent": {"similar_call": 13}}),
		"steps of the session": _given({"session": {"steps": 19}}),
		"first call": data.base,
	}
	got := loops.escalate with data.limits as _limits with input as given
	got == set()
}

test_escalate_no_poll if {
	got := loops.escalate with data.limits as _limits with input as _given({"session": {"same_call": 5}})
	got == set()
}

test_escalate_repeated_effect_of_what_is_not_declared_to_read_only[name] if {
	given := _given({"session": {"same_call": 4}})
	some name, tool_given in {
		"reads and writes": _with(given, "/tool/effects", ["read", "write"]),
		"declares nothing": _with(given, "/tool/effects", []),
		"effects are absent": _without(given, "/tool/effects"),
		"effects are text": _with(given, "/tool/effects", "read"),
		"no tool": _without(given, "/tool"),
	}
	got := loops.escalate with data.limits as _limits with input as tool_given
	{reason.code | some reason in got} == {"loops.repeated_effect"}
}

test_escalate_repeated_effect_unless_it_failed[name] if {
	given := _writing({"session": {"same_call": 4}})
	some name, expected in {
		"failed": {"row": 1, "want": set()},
		"succeeded": {"row": 0, "want": {"loops.repeated_effect"}},
		"nobody knows": {"row": null, "want": {"loops.repeated_effect"}},
	}
	got := loops.escalate with data.limits as _limits
		with input as _with(given, "/facts/retries/operation/failed_in_row", expected.row)
	{reason.code | some reason in got} == expected.want
}

test_escalate_repeated_effect_without_facts_of_retries if {
	given := _without(_writing({"session": {"same_call": 4}}), "/facts/retries")
	got := loops.escalate with data.limits as _limits with input as given
	{reason.code | some reason in got} == {"loops.repeated_effect"}
}

test_override_of_a_role_moves_the_limit if {
	limits := object.union(_limits, {"overrides": {"roles": {"contributor": {"loops": {"session": {"same_call": 7}}}}}})
	below := loops.deny with data.limits as limits with input as _given({"session": {"same_call": 6}})
	below == set()

	at := loops.deny with data.limits as limits with input as _given({"session": {"same_call": 7}})
	at == {{
		"code": "loops.same_call",
		"message": "The same call too often",
		"metadata": {"scope": "session", "limit": 7},
	}}
}

# Nearly every proposal is one, and OPA's time for it is most of what a decision costs.
test_first_call_is_not_looked_at_closely if {
	not loops._noted with input as data.base
}

test_escalate_repeated_effect_though_an_operation_of_this_name_failed if {
	failed := _with(_writing({"session": {"same_call": 4}}), "/facts/retries/operation/failed_in_row", 1)
	given := _with(failed, "/facts/retries/operation/key_given", true)
	got := loops.escalate with data.limits as _limits with input as given
	{reason.code | some reason in got} == {"loops.repeated_effect"}
}
