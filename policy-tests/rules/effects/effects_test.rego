package tests.rules.effects_test

import data.interlock.rules.effects

_roles := {
	"reader": {"tools": ["look", "change"], "effects": ["read"]},
	"writer": {"tools": ["look", "change"], "effects": ["read", "write"]},
	"wizard": {"tools": ["look"], "effects": ["read", "teleport"]},
}

_given(role, tool, declared) := {
	"subject": {"roles": [role]},
	"tool": {"name": tool, "known": true, "effects": declared},
}

test_deny_effects_not_declared if {
	got := effects.deny with data.roles as _roles with input as _given("writer", "change", [])
	got == {{
		"code": "effects.not_declared",
		"message": "Effects not declared",
		"metadata": {},
	}}
}

test_deny_unknown_effect_even_if_a_role_names_it if {
	got := effects.deny with data.roles as _roles with input as _given("wizard", "look", ["read", "teleport"])
	got == {{
		"code": "effects.unknown_effect",
		"message": "Unknown effect",
		"metadata": {"effect": "teleport"},
	}}
}

test_allow_nothing_with_an_unknown_effect if {
	got := effects.allow with data.roles as _roles with input as _given("wizard", "look", ["read", "teleport"])
	got == set()
}

test_escalate_effects_not_granted if {
	given := _given("reader", "change", ["write", "read", "delete"])
	got := effects.escalate with data.roles as _roles with input as given
	got == {{
		"code": "effects.needs_person",
		"message": "A person must approve this effect",
		"metadata": {"effects": ["delete", "write"]},
	}}
}

test_escalate_each_effect_that_changes_the_world[effect] if {
	some effect in ["write", "delete", "send", "pay", "execute"]
	got := effects.escalate with data.roles as _roles with input as _given("reader", "change", [effect])
	{reason.code | some reason in got} == {"effects.needs_person"}
}

test_escalate_nothing_for_a_tool_not_granted if {
	got := effects.escalate with data.roles as _roles with input as _given("reader", "other", ["write"])
	got == set()
}

test_allow_reading if {
	got := effects.allow with data.roles as _roles with input as _given("reader", "look", ["read"])
	got == {{
		"code": "effects.read_granted",
		"message": "Reading is granted",
		"metadata": {"roles": ["reader"]},
	}}
}

test_allow_granted_effects if {
	got := effects.allow with data.roles as _roles with input as _given("writer", "change", ["write", "read"])
	got == {{
		"code": "effects.granted",
		"message": "All effects are granted",
		"metadata": {"effects": ["read", "write"], "roles": ["writer"]},
	}}
}

test_allow_nothing_that_lacks_a_grant[name] if {
	some name, given in {
		"effect not granted": _given("reader", "change", ["read", "write"]),
		"tool not granted": _given("writer", "other", ["read"]),
		"no effects": _given("writer", "look", []),
		"unknown role": _given("ghost", "look", ["read"]),
		"nothing at all": {},
	}
	got := effects.allow with data.roles as _roles with input as given
	got == set()
}
