package tests.rules.retries_test

import data.interlock.rules.retries

_limits := {
	"retries": {
		"operation": {"failures": 4, "wait_from_failure": 2, "wait_seconds": 3, "longest_wait_seconds": 20},
		"session": {"invalid_in_row": 3, "percent": 50, "first_attempts": 10},
		"agent": {"invalid_in_row": 6, "percent": 75, "first_attempts": 20},
		"tool": {"percent": 20, "first_attempts": 40},
	},
	"overrides": {"roles": {}, "tenants": {}},
}

# For what more failures than these would show.
_patient := object.union(_limits, {"retries": {"operation": {"failures": 1000}}})

_given(tried) := object.union(data.base, {"facts": {"retries": tried}})

# A second attempt, so that all of the topic is looked at, and after too few failures for any limit.
_retried := _given({"operation": {"attempts": 2, "failed_in_row": 1, "seconds_since_failure": 0}})

_failed(times, seconds) := _given({"operation": {
	"attempts": times + 1,
	"failed_in_row": times,
	"seconds_since_failure": seconds,
}})

_retried_after(scope, attempts) := object.union(_retried, {"facts": {"retries": {scope: attempts}}})

_no_share(_) := 0

_half(_) := 0.5

_without(given, path) := json.patch(given, [{"op": "remove", "path": path}])

_with(given, path, value) := json.patch(given, [{"op": "add", "path": path, "value": value}])

test_deny_too_soon if {
	got := retries.deny with data.limits as _limits
		with data.interlock.jitter.share as _no_share
		with input as _failed(2, 1)
	got == {{
		"code": "retries.too_soon",
		"message": "Too soon",
		"metadata": {"retry_after_seconds": 2},
	}}
}

# 6 seconds less a quarter. Only whole seconds are counted.
test_deny_too_soon_less_a_share_of_up_to_half[name] if {
	some passed, left in {0: 4.5, 1: 3.5, 3: 1.5}
	name := $"{passed} seconds"
	got := retries.deny with data.limits as _limits
		with data.interlock.jitter.share as _half
		with input as _failed(3, passed)
	got == {{
		"code": "retries.too_soon",
		"message": "Too soon",
		"metadata": {"retry_after_seconds": left},
	}}
}

test_pass_after_the_whole_seconds_of_the_wait if {
	got := retries.deny with data.limits as _limits
		with data.interlock.jitter.share as _half
		with input as _failed(3, 4)
	got == set()
}

_seconds(given) := sum([reason.metadata.retry_after_seconds | some reason in got]) if {
	got := retries.deny with data.limits as _patient with data.interlock.jitter.share as _no_share with input as given
}

test_wait_doubles_with_each_failure_up_to_the_longest[name] if {
	some failures, seconds in {1: 0, 2: 3, 3: 6, 4: 12, 5: 20, 6: 20, 40: 20, 999: 20}
	name := $"{failures} failures"
	_seconds(_failed(failures, 0)) == seconds
}

test_wait_gets_shorter_as_time_passes[name] if {
	some passed, left in {0: 6, 1: 5, 5: 1, 6: 0, 7: 0, 600: 0}
	name := $"{passed} seconds"
	_seconds(_failed(3, passed)) == left
}

_of(agent, session, digest) := object.union(_failed(5, 0), {
	"subject": {"agent": agent},
	"context": {"session_id": session},
	"arguments_digest": digest,
})

_retry_after(given) := reason.metadata.retry_after_seconds if {
	got := retries.deny with data.limits as _patient with input as given
	some reason in got
}

test_callers_come_back_at_different_times if {
	times := {_retry_after(_of("agent", $"session-{number}", "digest")) | some number in numbers.range(1, 64)}
	count(times) > 40
	min(times) >= 20 / 2
	max(times) <= 20
}

test_agents_and_operations_come_back_at_different_times if {
	of_agents := {_retry_after(_of($"agent-{number}", "session", "digest")) | some number in numbers.range(1, 16)}
	count(of_agents) > 10
	of_operations := {_retry_after(_of("agent", "session", $"digest-{number}")) | some number in numbers.range(1, 16)}
	count(of_operations) > 10
}

# Of the time between, the service counts whole seconds: at least those that were told, rounded down.
test_pass_who_waited_as_long_as_was_told if {
	every number in numbers.range(1, 64) {
		given := _of("agent", $"session-{number}", "digest")
		waited := floor(_retry_after(given))
		got := retries.deny with data.limits as _patient
			with input as _with(given, "/facts/retries/operation/seconds_since_failure", waited)
		got == set()
	}
}

test_deny_who_waited_a_second_less if {
	every number in numbers.range(1, 64) {
		given := _of("agent", $"session-{number}", "digest")
		waited := floor(_retry_after(given)) - 1
		got := retries.deny with data.limits as _patient
			with input as _with(given, "/facts/retries/operation/seconds_since_failure", waited)
		{reason.code | some reason in got} == {"retries.too_soon"}
	}
}

test_deny_too_soon_to_a_caller_without_a_name[path] if {
	some path in ["/subject/agent", "/subject", "/context/session_id", "/context", "/arguments_digest"]
	got := retries.deny with data.limits as _limits with input as _without(_failed(2, 0), path)
	{reason.code | some reason in got} == {"retries.too_soon"}
}

test_deny_when_no_attempt_is_left if {
	got := retries.deny with data.limits as _limits with input as _failed(4, 600)
	got == {{
		"code": "retries.exhausted",
		"message": "No attempt is left",
		"metadata": {"limit": 4},
	}}
}

test_pass_last_attempt if {
	got := retries.deny with data.limits as _limits with input as _failed(3, 600)
	got == set()
}

test_deny_exhausted_and_too_soon_together if {
	got := retries.deny with data.limits as _limits with input as _failed(5, 0)
	{reason.code | some reason in got} == {"retries.exhausted", "retries.too_soon"}
}

test_deny_invalid_in_row[name] if {
	some name, expected in {
		"session at the limit": {"scope": "session", "row": 3, "limit": 3},
		"session above the limit": {"scope": "session", "row": 30, "limit": 3},
		"agent at the limit": {"scope": "agent", "row": 6, "limit": 6},
		"agent above the limit": {"scope": "agent", "row": 60, "limit": 6},
	}
	got := retries.deny with data.limits as _limits
		with input as _given({expected.scope: {"invalid_in_row": expected.row}})
	got == {{
		"code": "retries.invalid_in_row",
		"message": "Invalid again and again",
		"metadata": {"scope": expected.scope, "limit": expected.limit},
	}}
}

test_pass_invalid_in_row_below_the_limit[name] if {
	some name, tried in {
		"session": {"session": {"invalid_in_row": 2}},
		"agent": {"agent": {"invalid_in_row": 5}},
		"tool has no limit": {"tool": {"invalid_in_row": 1000}},
	}
	got := retries.deny with data.limits as _limits with input as _given(tried)
	got == set()
}

_spending := {
	"session": {"first_attempts": 10, "failed_ratio": 0.3, "invalid_ratio": 0.21},
	"agent": {"first_attempts": 20, "failed_ratio": 0.76, "invalid_ratio": 0},
	"tool": {"first_attempts": 40, "failed_ratio": 0, "invalid_ratio": 0.21},
}

test_deny_retry_when_the_budget_is_spent[scope] if {
	some scope, attempts in _spending
	got := retries.deny with data.limits as _limits with input as _retried_after(scope, attempts)
	got == {{
		"code": "retries.budget_spent",
		"message": "The retry budget is spent",
		"metadata": {"scope": scope, "limit_percent": _limits.retries[scope].percent},
	}}
}

test_pass_retry_while_the_budget_lasts[name] if {
	some name, expected in {
		"session at its percentage": {
			"scope": "session",
			"attempts": {"first_attempts": 10, "failed_ratio": 0.25, "invalid_ratio": 0.25},
		},
		"agent at its percentage": {"scope": "agent", "attempts": {"first_attempts": 20, "failed_ratio": 0.75}},
		"tool at its percentage": {"scope": "tool", "attempts": {"first_attempts": 40, "failed_ratio": 0.2}},
		"too few in the session": {"scope": "session", "attempts": {"first_attempts": 9, "failed_ratio": 5}},
		"too few of the agent": {"scope": "agent", "attempts": {"first_attempts": 19, "failed_ratio": 5}},
		"too few of the tool": {"scope": "tool", "attempts": {"first_attempts": 39, "failed_ratio": 5}},
	}
	got := retries.deny with data.limits as _limits with input as _retried_after(expected.scope, expected.attempts)
	got == set()
}

test_pass_first_attempt_whatever_became_of_others if {
	got := retries.deny with data.limits as _limits with input as _given(_spending)
	got == set()
}

test_pass_first_attempt_after_an_invalid_proposal if {
	tried := object.union(_spending, {"session": {"invalid_in_row": 1}})
	got := retries.deny with data.limits as _limits with input as _given(tried)
	got == set()
}

test_pass_second_attempt_at_once if {
	got := retries.deny with data.limits as _limits with input as _retried
	got == set()
}

_counts := ({
	"/facts/retries/operation/attempts",
	"/facts/retries/operation/failed_in_row",
	"/facts/retries/operation",
} | {$"/facts/retries/{scope}/{name}" |
	some scope in ["session", "agent", "tool"]
	some name in ["first_attempts", "invalid_ratio", "failed_ratio", "invalid_in_row"]
}) | {$"/facts/retries/{scope}" | some scope in ["session", "agent", "tool"]}

_not_measured := {
	"code": "retries.not_measured",
	"message": "Retries were not measured",
	"metadata": {},
}

test_deny_retry_when_a_count_is_absent[path] if {
	some path in (_counts | {"/facts/retries/operation/seconds_since_failure"})
	got := retries.deny with data.limits as _limits with input as _without(_retried, path)
	got == {_not_measured}
}

# Text is above each number, so that another reason may join.
test_deny_retry_when_a_count_is_none[name] if {
	some path in _counts
	some value in [null, false, true, "1", "", [], {}, -1]
	name := $"{path} is {json.marshal(value)}"
	got := retries.deny with data.limits as _limits with input as _with(_retried, path, value)
	_not_measured in got
}

test_deny_retry_when_the_time_of_the_failure_is_none[name] if {
	some value in [null, false, "600", [], {}]
	name := json.marshal(value)
	got := retries.deny with data.limits as _limits
		with input as _with(_failed(2, 0), "/facts/retries/operation/seconds_since_failure", value)
	got == {_not_measured}
}

# What tells a first attempt from a retry.
test_deny_first_attempt_when_a_count_is_none[name] if {
	some path in [
		"/facts/retries/operation/attempts",
		"/facts/retries/session/invalid_in_row",
		"/facts/retries/agent/invalid_in_row",
		"/facts/retries/operation",
		"/facts/retries/session",
		"/facts/retries/agent",
		"/facts/retries",
	]
	some value in [null, false, true, "1", "0", [], {}, -1]
	name := $"{path} is {json.marshal(value)}"
	got := retries.deny with data.limits as _limits with input as _with(data.base, path, value)
	_not_measured in got
}

test_deny_when_nothing_was_measured[name] if {
	some name, given in {
		"no input": {},
		"no facts": {"facts": {}},
		"retries are null": {"facts": {"retries": null}},
		"retries are empty": {"facts": {"retries": {}}},
	}
	got := retries.deny with data.limits as _limits with input as given
	got == {_not_measured}
}

_not_set := {
	"code": "retries.not_set",
	"message": "Limits on retries are not set",
	"metadata": {},
}

_paths_of_limits := {$"/retries/{group}/{name}" | some group, named in _limits.retries; some name, _ in named}

test_deny_retry_when_a_limit_is_absent[path] if {
	groups := {$"/retries/{group}" | some group, _ in _limits.retries}
	some path in ((_paths_of_limits | groups) | {"/retries"})
	got := retries.deny with data.limits as _without(_limits, path) with input as _retried
	got == {_not_set}
}

# Below 1, another reason may join.
test_deny_retry_when_a_limit_is_none[name] if {
	some path in _paths_of_limits
	some value in [null, false, true, "100", [], {}, 0, -1, 1.5]
	name := $"{path} is {json.marshal(value)}"
	got := retries.deny with data.limits as _with(_limits, path, value) with input as _retried
	_not_set in got
}

test_deny_retry_when_a_limit_is_misspelt[path] if {
	some path in ["/retries/operation/failure", "/retries/tool/invalid_in_row", "/retries/tenant"]
	got := retries.deny with data.limits as _with(_limits, path, 1) with input as _retried
	got == {_not_set}
}

test_override_of_a_tenant_moves_the_limit if {
	overrides := {"overrides": {"tenants": {"acme": {"retries": {"operation": {"failures": 2}}}}}}
	got := retries.deny with data.limits as object.union(_limits, overrides) with input as _failed(2, 600)
	got == {{
		"code": "retries.exhausted",
		"message": "No attempt is left",
		"metadata": {"limit": 2},
	}}
}

# Nearly every proposal is one, and OPA's time for it is most of what a decision costs.
test_first_attempt_is_not_looked_at_closely if {
	not retries._noted with input as data.base
}
