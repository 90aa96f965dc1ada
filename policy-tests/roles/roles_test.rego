package tests.roles_test

import data.interlock.roles

_data := {
	"reader": {"tools": ["look"], "effects": ["read"]},
	"writer": {"tools": ["look", "change"], "effects": ["write"]},
	"sender": {"tools": ["mail"], "effects": ["send"]},
}

_given(names, tool) := {"subject": {"roles": names}, "tool": {"name": tool}}

test_known_leaves_out_unknown_roles if {
	got := roles.known with data.roles as _data with input as _given(["reader", "ghost"], "look")
	got == {"reader"}
}

test_granting_needs_the_exact_tool_name[tool] if {
	some tool in ["loo", "looks", "LOOK", "look ", "*", ""]
	got := roles.granting with data.roles as _data with input as _given(["reader"], tool)
	got == set()
}

test_effects[name] if {
	some name, expected in {
		"of one role": {"roles": ["reader"], "want": {"read"}},
		"of two roles together": {"roles": ["reader", "writer"], "want": {"read", "write"}},
		"not of a role that grants another tool": {"roles": ["reader", "sender"], "want": {"read"}},
		"of no role": {"roles": [], "want": set()},
	}
	got := roles.effects with data.roles as _data with input as _given(expected.roles, "look")
	got == expected.want
}

test_nothing_is_granted_without_roles_data if {
	got := roles.granting with data.roles as {} with input as _given(["reader"], "look")
	got == set()
}

test_role_that_lacks_a_list_grants_nothing if {
	got := roles.effects with data.roles as {"reader": {"tools": ["look"]}} with input as _given(["reader"], "look")
	got == set()
}

test_nothing_is_granted_for_an_absent_field[name] if {
	some name, given in {
		"subject": {"tool": {"name": "look"}},
		"roles": {"subject": {}, "tool": {"name": "look"}},
		"tool": {"subject": {"roles": ["reader"]}},
		"tool name": {"subject": {"roles": ["reader"]}, "tool": {}},
	}
	got := roles.effects with data.roles as _data with input as given
	got == set()
}

test_roles_that_ship_grant_known_effects_only if {
	every role in data.roles {
		every effect in role.effects {
			effect in data.interlock.rules.effects._vocabulary
		}
	}
}
