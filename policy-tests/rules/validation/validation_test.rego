package tests.rules.validation_test

import data.interlock.rules.validation

_checked(violations) := object.union(data.base, {"facts": {"violations": violations}})

_unknown_tool := {
	"code": "validation.unknown_tool",
	"message": "Unknown tool",
	"metadata": {},
}

_not_checked := {
	"code": "validation.not_checked",
	"message": "Arguments were not checked",
	"metadata": {},
}

test_deny_unknown_tool_by_its_violation if {
	violation := {"code": "unknown_tool", "path": "", "rule": "", "message": ""}
	got := validation.deny with input as _checked([violation])
	got == {_unknown_tool}
}

test_deny_tool_not_said_to_be_known[name] if {
	some name, tool in {"false": {"known": false}, "text": {"known": "true"}, "null": {"known": null}, "absent": {}}
	got := validation.deny with input as {"tool": tool, "facts": {"violations": []}}
	got == {_unknown_tool}
}

test_deny_schema_with_path_and_rule if {
	violation := {"code": "schema", "path": "/a/0", "rule": "type", "message": "the value is not of type \"string\""}
	got := validation.deny with input as _checked([violation])
	got == {{
		"code": "validation.schema",
		"message": "Arguments do not fit the tool's schema",
		"metadata": {"rule": "type", "message": "the value is not of type \"string\""},
		"path": "/a/0",
	}}
}

test_deny_schema_once_for_each_violation if {
	one := {"code": "schema", "path": "/a", "rule": "type", "message": "m"}
	other := {"code": "schema", "path": "/b", "rule": "type", "message": "m"}
	got := validation.deny with input as _checked([one, other])
	{reason.path | some reason in got} == {"/a", "/b"}
}

test_deny_when_not_checked[name] if {
	some name, facts in {
		"no violations": {},
		"violations are null": {"violations": null},
		"violations are an object": {"violations": {}},
		"unknown kind": {"violations": [{"code": "other", "path": "", "rule": "", "message": ""}]},
		"no kind": {"violations": [{"path": "", "rule": "", "message": ""}]},
		"no path": {"violations": [{"code": "schema", "rule": "type", "message": ""}]},
		"no rule": {"violations": [{"code": "schema", "path": "", "message": ""}]},
		"no message": {"violations": [{"code": "schema", "path": "", "rule": "type"}]},
	}
	got := validation.deny with input as {"tool": {"known": true}, "facts": facts}
	got == {_not_checked}
}

test_pass_what_fits_the_catalog if {
	got := validation.deny with input as _checked([])
	got == set()
}
