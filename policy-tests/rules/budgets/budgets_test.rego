package tests.rules.budgets_test

import data.interlock.rules.budgets

_limits := {
	"budgets": {
		"session": {"calls": 11, "cost": 12},
		"agent": {"calls_an_hour": 13, "calls_a_minute": 14, "calls_in_a_burst": 15, "calls_at_once": 16},
		"tenant": {"cost_a_day": 17},
	},
	"overrides": {"roles": {}, "tenants": {}},
}

_given(tool) := object.union(data.base, {"tool": tool})

_leasing(name, arguments) := object.union(
	object.remove(data.base, ["arguments"]),
	{"tool": {"labels": {"lease": name}}, "arguments": arguments},
)

_without(given, path) := json.patch(given, [{"op": "remove", "path": path}])

_with(given, path, value) := json.patch(given, [{"op": "add", "path": path, "value": value}])

_reserved := {
	{
		"type": "budget", "scope": "session", "unit": "calls", "amount": 1, "limit": 11,
		"window": "whole", "window_seconds": 0,
	},
	{
		"type": "budget", "scope": "session", "unit": "cost", "amount": 5, "limit": 12,
		"window": "whole", "window_seconds": 0,
	},
	{
		"type": "budget", "scope": "agent", "unit": "calls", "amount": 1, "limit": 13,
		"window": "sliding", "window_seconds": 3600,
	},
	{"type": "rate", "scope": "agent", "limit": 14, "period_seconds": 60, "burst": 15},
	{"type": "concurrency", "scope": "agent", "limit": 16},
	{
		"type": "budget", "scope": "tenant", "unit": "cost", "amount": 5, "limit": 17,
		"window": "tumbling", "window_seconds": 86400,
	},
}

test_reserve_what_a_call_takes if {
	got := budgets.reserve with data.limits as _limits with input as _given({"cost": 5})
	got == _reserved
}

test_reserve_a_lease_on_the_argument_that_the_label_names if {
	given := object.union(_leasing("file", {"file": "/srv/a", "mode": "w"}), {"tool": {"cost": 5}})
	got := budgets.reserve with data.limits as _limits with input as given
	got == _reserved | {{"type": "lease", "resource": `["file","/srv/a"]`}}
}

_leases(given) := {reservation.resource |
	some reservation in got
	reservation.type == "lease"
} if {
	got := budgets.reserve with data.limits as _limits with input as given
}

test_lease_of_any_value[name] if {
	some name, expected in {
		"text": {"value": "a", "want": `["of","a"]`},
		"empty text": {"value": "", "want": `["of",""]`},
		"number": {"value": 7, "want": `["of",7]`},
		"false": {"value": false, "want": `["of",false]`},
		"null": {"value": null, "want": `["of",null]`},
		"object": {"value": {"b": 1, "a": [2]}, "want": `["of",{"a":[2],"b":1}]`},
	}
	given := _leasing("of", {"of": expected.value})
	got := _leases(given)
	got == {expected.want}

	denied := budgets.deny with data.limits as _limits with input as given
	denied == set()
}

test_lease_of_text_is_none_of_a_number if {
	_leases(_leasing("of", {"of": "1"})) != _leases(_leasing("of", {"of": 1}))
}

test_lease_of_one_argument_is_none_of_another if {
	_leases(_leasing("from", {"from": "a", "to": "a"})) != _leases(_leasing("to", {"from": "a", "to": "a"}))
}

_text(characters) := concat("", ["x" | some _ in numbers.range(1, characters)])

# `["of",""]` are 9 characters.
test_lease_of_the_longest_value if {
	given := _leasing("of", {"of": _text(503)})
	{count(resource) | some resource in _leases(given)} == {512}

	got := budgets.deny with data.limits as _limits with input as given
	got == set()
}

test_deny_nothing_to_lease[name] if {
	some name, expected in {
		"argument is absent": {"argument": "file", "given": _leasing("file", {"path": "/srv/a"})},
		"argument in another case": {"argument": "file", "given": _leasing("file", {"File": "/srv/a"})},
		"no arguments": {"argument": "file", "given": _leasing("file", {})},
		"arguments are absent": {"argument": "file", "given": _without(_leasing("file", {}), "/arguments")},
		"arguments are text": {"argument": "file", "given": _leasing("file", "file")},
		"value is one character too long": {"argument": "of", "given": _leasing("of", {"of": _text(504)})},
		"label is empty": {"argument": "", "given": _leasing("", {"file": "/srv/a"})},
		"label is null": {"argument": null, "given": _leasing(null, {"file": "/srv/a"})},
		"label is false": {"argument": false, "given": _leasing(false, {"file": "/srv/a"})},
	}
	got := budgets.deny with data.limits as _limits with input as expected.given
	got == {{
		"code": "budgets.nothing_to_lease",
		"message": "Nothing to lease",
		"metadata": {"argument": expected.argument},
	}}
	_leases(expected.given) == set()
}

test_no_lease_without_the_label[name] if {
	some name, given in {
		"no labels": _with(data.base, "/tool/labels", {}),
		"other label": _with(data.base, "/tool/labels", {"owner": "repo_path"}),
	}
	_leases(given) == set()

	got := budgets.deny with data.limits as _limits with input as given
	got == set()
}

test_pass_known_cost[name] if {
	some name, cost in {"nothing": 0, "one": 1, "much": 9007199254740991}
	got := budgets.deny with data.limits as _limits with input as _given({"cost": cost})
	got == set()
}

test_deny_entry_that_is_not_known[name] if {
	some name, given in {
		"below zero": _given({"cost": -1}),
		"text": _given({"cost": "5"}),
		"null": _given({"cost": null}),
		"boolean": _given({"cost": true}),
		"array": _given({"cost": [5]}),
		"absent": _without(data.base, "/tool/cost"),
		"labels are null": _given({"labels": null}),
		"labels are a list": _given({"labels": ["lease"]}),
		"labels are absent": _without(data.base, "/tool/labels"),
		"no tool": _without(data.base, "/tool"),
		"no input": {},
	}
	got := budgets.deny with data.limits as _limits with input as given
	got == {{
		"code": "budgets.entry_unknown",
		"message": "The tool's entry is not known",
		"metadata": {},
	}}
}

_not_set := {
	"code": "budgets.not_set",
	"message": "Budgets are not set",
	"metadata": {},
}

_paths_of_limits := {$"/budgets/{group}/{name}" | some group, named in _limits.budgets; some name, _ in named}

test_deny_when_a_limit_is_absent[path] if {
	groups := {$"/budgets/{group}" | some group, _ in _limits.budgets}
	some path in ((_paths_of_limits | groups) | {"/budgets"})
	got := budgets.deny with data.limits as _without(_limits, path) with input as data.base
	got == {_not_set}
}

test_deny_when_a_limit_is_none[name] if {
	some path in _paths_of_limits
	some value in [null, false, true, "10", [], {}, 0, -1]
	name := $"{path} is {json.marshal(value)}"
	got := budgets.deny with data.limits as _with(_limits, path, value) with input as data.base
	got == {_not_set}
}

test_deny_when_a_limit_is_misspelt[path] if {
	some path in ["/budgets/session/call", "/budgets/agent/calls_a_day", "/budgets/tenant/cost", "/budgets/user"]
	got := budgets.deny with data.limits as _with(_limits, path, 1) with input as data.base
	got == {_not_set}
}

test_deny_with_a_reason_for_each_thing_that_is_missing if {
	given := object.union(_leasing("file", {}), {"tool": {"cost": -1}})
	got := budgets.deny with data.limits as _without(_limits, "/budgets/tenant") with input as given
	{reason.code | some reason in got} == {"budgets.entry_unknown", "budgets.not_set", "budgets.nothing_to_lease"}
}

test_reserve_from_the_budget_of_the_tenant if {
	overrides := {"overrides": {"tenants": {"acme": {"budgets": {"tenant": {"cost_a_day": 99}}}}}}
	got := budgets.reserve with data.limits as object.union(_limits, overrides) with input as data.base
	{reservation.limit | some reservation in got; reservation.scope == "tenant"} == {99}
}
