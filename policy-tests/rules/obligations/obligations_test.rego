package tests.rules.obligations_test

import data.interlock.rules.obligations

_none := {"every_call": [], "effects": {}, "labels": {}, "results": {}, "roles": {}}

_call := {
	"tool": {"effects": ["read"], "labels": {"redact": "secrets"}, "results": "untrusted"},
	"subject": {"roles": ["reader"]},
}

_capped := {"type": "max_result_bytes", "bytes": 65536}

_dry := {"type": "dry_run"}

test_pass_the_policy_data_that_ships if {
	got := obligations.deny with input as _call
	got == set()
}

test_oblige[name] if {
	some name, expected in {
		"nothing is stated": {"stated": {}, "want": set()},
		"every call": {"stated": {"every_call": [_capped]}, "want": {_capped}},
		"an effect": {"stated": {"effects": {"read": [_dry]}}, "want": {_dry}},
		"another effect": {"stated": {"effects": {"write": [_dry]}}, "want": set()},
		"a label": {"stated": {"labels": {"redact": {"secrets": [_dry]}}}, "want": {_dry}},
		"another value of the label": {"stated": {"labels": {"redact": {"other": [_dry]}}}, "want": set()},
		"another label": {"stated": {"labels": {"secrets": {"secrets": [_dry]}}}, "want": set()},
		"results": {"stated": {"results": {"untrusted": [_dry]}}, "want": {_dry}},
		"other results": {"stated": {"results": {"trusted": [_dry]}}, "want": set()},
		"a role": {"stated": {"roles": {"reader": [_dry]}}, "want": {_dry}},
		"another role": {"stated": {"roles": {"Reader": [_dry]}}, "want": set()},
		"one of several": {
			"stated": {"every_call": [_capped], "effects": {"read": [_dry, _capped]}, "roles": {"reader": [_dry]}},
			"want": {_capped, _dry},
		},
	}
	stated := object.union(_none, expected.stated)
	got := obligations.obligation with data.limits.obligations as stated with input as _call
	got == expected.want
	refused := obligations.deny with data.limits.obligations as stated with input as _call
	refused == set()
}

test_pass_each_obligation_as_it_is_documented[name] if {
	some name, stated in {
		"timeout": {"seconds": 5},
		"max_result_bytes": {"bytes": 1},
		"redact_result": {"patterns": ["secrets"], "pointers": ["/content"]},
		"drop_fields": {"pointers": ["/structuredContent/email"]},
		"sandbox": {"network": false, "writable": ["scratch"]},
		"dry_run": {},
		"require_idempotency_key": {},
	}
	obligation := object.union(stated, {"type": name})
	got := obligations.deny with data.limits.obligations as object.union(_none, {"every_call": [obligation]})
		with input as _call
	got == set()
}

test_pass_what_is_malformed_for_other_calls if {
	stated := object.union(_none, {"effects": {"pay": "dry_run"}, "labels": {"other": []}, "roles": {"payer": [{}]}})
	got := obligations.deny with data.limits.obligations as stated with input as _call
	got == set()
}

test_deny_what_is_malformed[name] if {
	some name, stated in {
		"nothing": {},
		"no group of roles": object.remove(_none, ["roles"]),
		"a group that is not known": object.union(_none, {"tools": {}}),
		"text": "none",
		"null": null,
		"every call is no list": object.union(_none, {"every_call": {"type": "dry_run"}}),
		"effects are a list": object.union(_none, {"effects": [[_dry]]}),
		"an effect has no list": object.union(_none, {"effects": {"read": _dry}}),
		"labels are text": object.union(_none, {"labels": "redact"}),
		"a label has no values": object.union(_none, {"labels": {"redact": [_dry]}}),
		"a value of a label has no list": object.union(_none, {"labels": {"redact": {"secrets": _dry}}}),
		"an obligation is text": object.union(_none, {"every_call": ["dry_run"]}),
		"an obligation without a type": object.union(_none, {"every_call": [{}]}),
		"a type that is not known": object.union(_none, {"roles": {"reader": [{"type": "levitate"}]}}),
		"a parameter that is not known": object.union(_none, {"results": {"untrusted": [{"type": "dry_run", "a": 1}]}}),
		"a parameter that is missing": object.union(_none, {"every_call": [{"type": "timeout"}]}),
	}
	got := obligations.deny with data.limits.obligations as stated with input as _call
	got == {{
		"code": "obligations.malformed",
		"message": "Obligations are not well-formed",
		"metadata": {},
	}}
}
