package tests.rules.breakers_test

import data.interlock.rules.breakers

_tool := {
	"failure_percent": 40,
	"minimum_calls": 12,
	"window_seconds": 50,
	"slow_milliseconds": 900,
	"slow_percent": 70,
	"open_seconds": 20,
}

_limits := {
	"breakers": {"tool": _tool, "callers": {"jitter_seconds": 8}},
	"overrides": {"roles": {}, "tenants": {}},
}

_given(breaker) := object.union(data.base, {"facts": {"breaker": breaker}})

_of(agent, session, opened) := object.union(
	_given({"state": "open", "opened": opened, "seconds_until_half_open": 3}),
	{"subject": {"agent": agent}, "context": {"session_id": session}},
)

_half(_) := 0.5

_without(given, path) := json.patch(given, [{"op": "remove", "path": path}])

_with(given, path, value) := json.patch(given, [{"op": "add", "path": path, "value": value}])

test_deny_open_breaker if {
	got := breakers.deny with data.limits as _limits
		with data.interlock.jitter.share as _half
		with input as _given({"state": "open", "seconds_until_half_open": 3})
	got == {{
		"code": "breakers.open",
		"message": "The breaker is open",
		"metadata": {"retry_after_seconds": 7},
	}}
}

test_deny_open_breaker_whatever_else_is_measured[name] if {
	some name, breaker in {
		"nothing": {"state": "open", "seconds_until_half_open": 0},
		"no calls": {"state": "open", "calls": 0, "failed": 0, "slow": 0},
		"it opened for the first time": {"state": "open", "opened": 1},
	}
	got := breakers.deny with data.limits as _limits with input as _given(breaker)
	{reason.code | some reason in got} == {"breakers.open"}
}

test_deny_open_breaker_when_nobody_knows_for_how_long[name] if {
	open := _given({"state": "open"})
	path := "/facts/breaker/seconds_until_half_open"
	some name, given in {
		"absent": _without(open, path),
		"null": _with(open, path, null),
		"text": _with(open, path, "3"),
	}
	got := breakers.deny with data.limits as _limits with data.interlock.jitter.share as _half with input as given
	got == {{
		"code": "breakers.open",
		"message": "The breaker is open",
		"metadata": {"retry_after_seconds": 4},
	}}
}

test_deny_open_breaker_to_a_caller_without_a_name[path] if {
	some path in [
		"/subject/agent",
		"/subject",
		"/context/session_id",
		"/context",
		"/tool/name",
		"/tool",
		"/facts/breaker/opened",
	]
	got := breakers.deny with data.limits as _limits with input as _without(_given({"state": "open"}), path)
	{reason.code | some reason in got} == {"breakers.open"}
}

_retry_after(given) := reason.metadata.retry_after_seconds if {
	got := breakers.deny with data.limits as _limits with input as given
	some reason in got
}

test_callers_of_an_open_breaker_come_back_at_different_times if {
	times := {_retry_after(_of("agent", $"session-{number}", 1)) | some number in numbers.range(1, 64)}
	count(times) > 40
	min(times) >= 3
	max(times) < 3 + 8
}

test_agents_in_sessions_of_one_name_come_back_at_different_times if {
	count({_retry_after(_of($"agent-{number}", "session", 1)) | some number in numbers.range(1, 16)}) > 10
}

test_one_caller_comes_back_at_another_time_after_each_opening if {
	count({_retry_after(_of("agent", "session", opened)) | some opened in numbers.range(1, 16)}) > 10
}

test_one_caller_is_told_the_same_time_again if {
	_retry_after(_of("agent", "session", 1)) == _retry_after(_of("agent", "session", 1))
}

test_pass_breaker_that_lets_calls_through[state] if {
	some state in ["closed", "half_open"]
	got := breakers.deny with data.limits as _limits with input as _given({"state": state})
	got == set()
}

test_deny_when_the_state_is_not_known[name] if {
	some name, given in {
		"other word": _given({"state": "broken"}),
		"another case": _given({"state": "Closed"}),
		"empty": _given({"state": ""}),
		"null": _given({"state": null}),
		"boolean": _given({"state": false}),
		"array": _given({"state": ["closed"]}),
		"absent": _without(data.base, "/facts/breaker/state"),
		"breaker is absent": _without(data.base, "/facts/breaker"),
		"breaker is null": _with(data.base, "/facts/breaker", null),
		"no facts": _without(data.base, "/facts"),
		"no input": {},
	}
	got := breakers.deny with data.limits as _limits with input as given
	got == {{
		"code": "breakers.not_measured",
		"message": "The state of the breaker is not known",
		"metadata": {},
	}}
}

_not_set := {
	"code": "breakers.not_set",
	"message": "Limits of breakers are not set",
	"metadata": {},
}

_paths_of_limits := {$"/breakers/{group}/{name}" | some group, named in _limits.breakers; some name, _ in named}

test_deny_when_a_limit_is_absent[path] if {
	some path in (_paths_of_limits | {"/breakers", "/breakers/tool", "/breakers/callers"})
	got := breakers.deny with data.limits as _without(_limits, path) with input as data.base
	got == {_not_set}
}

test_deny_when_a_limit_is_none[name] if {
	some path in _paths_of_limits
	some value in [null, false, true, "10", [], {}, 0, -1]
	name := $"{path} is {json.marshal(value)}"
	got := breakers.deny with data.limits as _with(_limits, path, value) with input as data.base
	got == {_not_set}
}

test_deny_when_a_limit_is_misspelt[path] if {
	some path in ["/breakers/tool/slow_seconds", "/breakers/callers/jitter", "/breakers/session"]
	got := breakers.deny with data.limits as _with(_limits, path, 1) with input as data.base
	got == {_not_set}
}

test_deny_open_breaker_when_limits_are_not_set if {
	got := breakers.deny with data.limits as _without(_limits, "/breakers/callers")
		with input as _given({"state": "open"})
	got == {_not_set}
}

test_reserve_with_the_terms_of_the_policy_data[state] if {
	some state, probe in {"closed": false, "half_open": true}
	got := breakers.reserve with data.limits as _limits with input as _given({"state": state})
	got == {{
		"type": "breaker",
		"probe": probe,
		"failure_percent": 40,
		"minimum_calls": 12,
		"window_seconds": 50,
		"slow_milliseconds": 900,
		"slow_percent": 70,
		"open_seconds": 20,
	}}
}

test_reserve_with_the_terms_of_the_tenant if {
	overrides := {"overrides": {"tenants": {"acme": {"breakers": {"tool": {"open_seconds": 90}}}}}}
	got := breakers.reserve with data.limits as object.union(_limits, overrides) with input as data.base
	{reservation.open_seconds | some reservation in got} == {90}
}

test_reserve_nothing_without_terms if {
	got := breakers.reserve with data.limits as _without(_limits, "/breakers/tool/open_seconds") with input as data.base
	got == set()
}
