package tests.rules.permissions_test

import data.interlock.rules.permissions

_roles := {"reader": {"tools": ["look"], "effects": ["read"]}}

_given(names, tool) := {"subject": {"roles": names}, "tool": {"name": tool, "known": true, "effects": ["read"]}}

test_deny_subject_without_a_known_role if {
	got := permissions.deny with data.roles as _roles with input as _given(["ghost", "admin"], "look")
	got == {{
		"code": "permissions.no_role",
		"message": "No known role",
		"metadata": {"roles": ["admin", "ghost"]},
	}}
}

test_deny_when_roles_are_absent[name] if {
	some name, given in {"no subject": {}, "no roles": {"subject": {}}, "null": {"subject": {"roles": null}}}
	got := permissions.deny with data.roles as _roles with input as given
	{reason.code | some reason in got} == {"permissions.no_role"}
}

test_deny_when_no_roles_are_defined if {
	got := permissions.deny with data.roles as {} with input as _given(["reader"], "look")
	{reason.code | some reason in got} == {"permissions.no_role"}
}

test_deny_tool_not_granted if {
	got := permissions.deny with data.roles as _roles with input as _given(["reader", "ghost"], "change")
	got == {{
		"code": "permissions.tool_not_granted",
		"message": "Tool not granted",
		"metadata": {"roles": ["reader"]},
	}}
}

test_pass_granted_tool if {
	got := permissions.deny with data.roles as _roles with input as _given(["reader"], "look")
	got == set()
}

test_withhold_tool_that_no_role_grants[name] if {
	some name, given in {"empty": {}, "ghost": _given(["ghost"], "look"), "other": _given(["reader"], "change")}
	got := permissions.withhold with data.roles as _roles with input as given
	got == {"no role grants the tool"}
}

test_offer_granted_tool if {
	got := permissions.withhold with data.roles as _roles with input as _given(["reader", "ghost"], "look")
	got == set()
}
