package tests.rules.freezes_test

import data.interlock.rules.freezes

_frozen(list) := object.union(data.base, {"facts": object.union(data.base.facts, {"freezes": list})})

_active(metadata) := {
	"code": "freezes.active",
	"message": "Frozen by an operator",
	"metadata": metadata,
}

_not_known := {
	"code": "freezes.not_known",
	"message": "Freezes are not known",
	"metadata": {},
}

test_deny_what_is_frozen_in_each_scope[scope] if {
	some scope in ["all", "tenant", "agent", "tool"]
	got := freezes.deny with input as _frozen([{"scope": scope, "log_index": 7, "comment": "runaway"}])
	got == {_active({"scope": scope, "log_index": 7})}
}

test_deny_once_for_each_freeze if {
	one := {"scope": "agent", "log_index": 7, "comment": ""}
	other := {"scope": "tool", "log_index": 9, "comment": ""}
	got := freezes.deny with input as _frozen([one, other])
	{reason.metadata.log_index | some reason in got} == {7, 9}
}

test_deny_a_freeze_that_nobody_understands[name] if {
	some name, freeze in {"text": "all", "null": null, "false": false, "empty": {}}
	got := freezes.deny with input as _frozen([freeze])
	got == {_active({})}
}

test_deny_when_not_known[name] if {
	some name, facts in {"absent": {}, "null": {"freezes": null}, "text": {"freezes": ""}, "empty": {"freezes": {}}}
	got := freezes.deny with input as {"facts": facts}
	got == {_not_known}
}

test_pass_what_is_not_frozen if {
	got := freezes.deny with input as _frozen([])
	got == set()
}
