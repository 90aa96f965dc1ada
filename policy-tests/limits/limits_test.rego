package tests.limits_test

import data.interlock.limits

_limits := {
	"loops": {"session": {"steps": 10, "cycle": 3}},
	"breakers": {"tool": {"open_seconds": 30}},
	"overrides": {"roles": {}, "tenants": {}},
}

_overriding(overrides) := object.union(_limits, {"overrides": overrides})

_steps(number) := {"loops": {"session": {"steps": number}}}

_open(seconds) := {"breakers": {"tool": {"open_seconds": seconds}}}

_given(tenant, roles) := {"subject": {"tenant": tenant, "roles": roles}}

_tenants_and_roles := {
	"tenants": {"acme": _steps(20), "quiet": {}},
	"roles": {"worker": _steps(30), "runner": _steps(40), "snail": _steps(5), "odd": _steps("9"), "nobody": _steps(null)},
}

test_current[name] if {
	some name, expected in {
		"default": {"tenant": "other", "roles": ["reader"], "want": 10},
		"default without a role": {"tenant": "other", "roles": [], "want": 10},
		"default for a tenant that sets nothing": {"tenant": "quiet", "roles": [], "want": 10},
		"role beats default": {"tenant": "other", "roles": ["worker"], "want": 30},
		"role beats default downwards too": {"tenant": "other", "roles": ["snail"], "want": 5},
		"largest of several roles": {"tenant": "other", "roles": ["worker", "runner", "snail"], "want": 40},
		"largest whatever their order": {"tenant": "other", "roles": ["snail", "runner", "worker"], "want": 40},
		"role beside one that sets nothing": {"tenant": "other", "roles": ["reader", "worker"], "want": 30},
		"tenant beats default": {"tenant": "acme", "roles": [], "want": 20},
		"tenant beats a larger role": {"tenant": "acme", "roles": ["runner"], "want": 20},
		"tenant beats a smaller role": {"tenant": "acme", "roles": ["snail"], "want": 20},
		"role where the tenant sets nothing": {"tenant": "quiet", "roles": ["worker"], "want": 30},
		"text of a role": {"tenant": "other", "roles": ["odd"], "want": "9"},
		"text of a role beats the number of another": {"tenant": "other", "roles": ["runner", "odd"], "want": "9"},
		"null of a role": {"tenant": "other", "roles": ["nobody"], "want": null},
		"tenant in another case is another tenant": {"tenant": "Acme", "roles": [], "want": 10},
		"role in another case is another role": {"tenant": "other", "roles": ["Worker"], "want": 10},
	}
	got := limits.current with data.limits as _overriding(_tenants_and_roles)
		with input as _given(expected.tenant, expected.roles)
	got.loops == {"session": {"steps": expected.want, "cycle": 3}}
	got.breakers == _limits.breakers
}

test_current_without_overrides_is_the_policy_data if {
	got := limits.current with data.limits as _limits with input as _given("acme", ["worker"])
	got == _limits
}

test_current_of_no_subject_is_the_default[name] if {
	some name, given in {
		"no input": {},
		"no tenant and no roles": {"subject": {}},
		"null": {"subject": {"tenant": null, "roles": null}},
		"roles are text": {"subject": {"tenant": "other", "roles": "worker"}},
	}
	got := limits.current with data.limits as _overriding(_tenants_and_roles) with input as given
	got.loops == _limits.loops
}

test_current_without_the_place_for_overrides_is_the_default if {
	bare := object.remove(_limits, ["overrides"])
	got := limits.current with data.limits as bare with input as _given("acme", ["worker"])
	got == bare
}

test_current_takes_several_limits_of_several_roles if {
	roles := {"worker": _steps(30), "spinner": {"loops": {"session": {"cycle": 9}}, "budgets": {"agent": {"calls": 7}}}}
	got := limits.current with data.limits as _overriding({"roles": roles})
		with input as _given("other", ["worker", "spinner"])
	got.loops == {"session": {"steps": 30, "cycle": 9}}
	got.budgets == {"agent": {"calls": 7}}
}

test_breakers_are_the_tenants_and_not_a_roles[name] if {
	some name, expected in {
		"role": {"tenant": "other", "roles": ["worker"], "want": 30},
		"tenant": {"tenant": "acme", "roles": [], "want": 60},
		"both": {"tenant": "acme", "roles": ["worker"], "want": 60},
	}
	got := limits.current with data.limits as _overriding({"tenants": {"acme": _open(60)}, "roles": {"worker": _open(90)}})
		with input as _given(expected.tenant, expected.roles)
	got.breakers.tool.open_seconds == expected.want
}

_names := {"session": {"steps", "cycle"}, "nesting": {"depth"}}

_topic := {"session": {"steps": 1, "cycle": 3}, "nesting": {"depth": 8}}

test_set_when_every_limit_is_a_whole_number_above_zero if {
	limits.are_set(_topic, _names)
}

test_set_when_a_whole_number_is_written_with_a_point if {
	limits.are_set(object.union(_topic, {"nesting": {"depth": 8.0}}), _names)
}

test_not_set[name] if {
	some name, topic in {
		"empty": {},
		"null": null,
		"text": "session",
		"array": [],
		"no group": object.remove(_topic, ["nesting"]),
		"one group too many": object.union(_topic, {"other": {"depth": 8}}),
		"group is null": object.union(_topic, {"nesting": null}),
		"group is a number": object.union(_topic, {"nesting": 8}),
		"group is an array": object.union(_topic, {"nesting": [8]}),
		"no limit": {"session": {"steps": 1, "cycle": 3}, "nesting": {}},
		"one limit too many": object.union(_topic, {"nesting": {"deep": 8}}),
		"zero": object.union(_topic, {"nesting": {"depth": 0}}),
		"below zero": object.union(_topic, {"nesting": {"depth": -1}}),
		"no whole number": object.union(_topic, {"nesting": {"depth": 1.5}}),
		"text for a number": object.union(_topic, {"nesting": {"depth": "8"}}),
		"null for a number": object.union(_topic, {"nesting": {"depth": null}}),
		"boolean for a number": object.union(_topic, {"nesting": {"depth": true}}),
		"array for a number": object.union(_topic, {"nesting": {"depth": [8]}}),
	}
	not limits.are_set(topic, _names)
}

# What an override says of a limit that nobody has would be nothing, and nobody would know.
test_overrides_that_ship_set_limits_that_exist if {
	_astray(data.limits) == set()
}

test_overrides_go_astray[name] if {
	some name, overrides in {
		"unknown limit": {"tenants": {"acme": {"loops": {"session": {"step": 9}}}}},
		"unknown group": {"roles": {"worker": {"loops": {"user": {"steps": 9}}}}},
		"unknown topic": {"tenants": {"acme": {"loop": {"session": {"steps": 9}}}}},
		"number in place of a group": {"tenants": {"acme": {"loops": 9}}},
		"breaker of a role": {"roles": {"worker": _open(60)}},
		"other place": {"users": {"ann": _steps(9)}},
	}
	_astray(object.union(_limits, {"overrides": overrides})) != set()
}

test_overrides_of_limits_that_exist_do_not if {
	_astray(_overriding({"tenants": {"acme": object.union(_steps(9), _open(60))}, "roles": {"worker": _steps(9)}})) == set()
}

_astray(limits) := {path |
	walk(limits.overrides, [path, value])
	not is_object(value)
	not _leads_to_a_limit(limits, path)
}

_leads_to_a_limit(limits, [place, _, topic, group, name]) if {
	limits[topic][group][name]
	place in {"roles", "tenants"}
	[place, topic] != ["roles", "breakers"]
}
