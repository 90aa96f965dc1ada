package tests.rules.context_test

import data.interlock.rules.context

_given(facts) := object.union(data.base, {"facts": facts})

_measured(measured) := _given({"context": measured})

# A call with outside effects, whose arguments the service found nowhere suspicious.
_sending(facts) := object.union(_given(facts), {"tool": {"effects": ["send"]}})

_without(given, path) := json.patch(given, [{"op": "remove", "path": path}])

_with(given, path, value) := json.patch(given, [{"op": "add", "path": path, "value": value}])

_codes(reasons) := {reason.code | some reason in reasons}

test_deny_session_that_has_ended[name] if {
	some name, given in {
		"reading": _measured({"session_ended": true}),
		"sending": _sending({"context": {"session_ended": true}}),
	}
	got := context.deny with input as given
	got == {{
		"code": "context.session_ended",
		"message": "The session has ended",
		"metadata": {},
	}}
}

test_deny_digest_of_another_state[name] if {
	some name, given in {
		"reading": _measured({"digest_sent": true, "digest_matches": false}),
		"sending": _sending({"context": {"digest_sent": true, "digest_matches": false}}),
	}
	got := context.deny with input as given
	got == {{
		"code": "context.state_mismatch",
		"message": "The agent's state is another",
		"metadata": {},
	}}
}

test_pass_digest[name] if {
	some name, measured in {
		"that matches": {"digest_sent": true, "digest_matches": true},
		"that was not sent": {"digest_sent": false, "digest_matches": true},
		"that was not sent and cannot match": {"digest_sent": false, "digest_matches": false},
	}
	got := context.deny with input as _measured(measured)
	got == set()
}

_stale(key) := {"key": key, "read_version": 3, "known_version": 4, "problem": "version"}

_stale_reads := [_stale("prices"), _stale("customers"), object.union(_stale("prices"), {"problem": "digest"})]

test_deny_write_after_a_stale_read[name] if {
	some name, effects in {
		"write": ["write"],
		"read and write": ["read", "write"],
		"send": ["send"],
		"nothing declared": [],
	}
	got := context.deny with input as object.union(
		_measured({"stale_reads": _stale_reads}),
		{"tool": {"effects": effects}},
	)
	got == {{
		"code": "context.stale_read",
		"message": "Acting on a stale read",
		"metadata": {"keys": ["customers", "prices"]},
	}}
}

test_deny_write_after_a_stale_read_of_what_has_no_key if {
	got := context.deny with input as _sending({"context": {"stale_reads": [{}]}})
	got == {{
		"code": "context.stale_read",
		"message": "Acting on a stale read",
		"metadata": {"keys": []},
	}}
}

test_deny_write_after_a_stale_read_of_a_tool_without_effects if {
	given := _without(_measured({"stale_reads": _stale_reads}), "/tool/effects")
	got := context.deny with input as given
	_codes(got) == {"context.stale_read"}
}

test_pass_reading_after_a_stale_read if {
	got := context.deny with input as _measured({"stale_reads": _stale_reads})
	got == set()
}

test_pass_write_after_reads_that_are_current if {
	got := context.deny with input as _sending({"context": {"stale_reads": []}})
	got == set()
}

_not_measured := {
	"code": "context.not_measured",
	"message": "The context was not measured",
	"metadata": {},
}

_flags := {
	"/facts/context/session_ended",
	"/facts/context/digest_sent",
	"/facts/context/digest_matches",
}

_mismatched := {"digest_matches": false}

test_deny_when_a_flag_is_none[name] if {
	some path in _flags
	some value in [null, "true", "false", "", 0, 1, [], {}]
	name := $"{path} is {json.marshal(value)}"
	reading := context.deny with input as _with(_measured(_mismatched), path, value)
	reading == {_not_measured}
	sending := context.deny with input as _with(_sending({}), path, value)
	sending == {_not_measured}
}

test_deny_when_a_flag_is_absent[path] if {
	some path in (_flags | {"/facts/context", "/facts"})
	reading := context.deny with input as _without(_measured(_mismatched), path)
	reading == {_not_measured}
	sending := context.deny with input as _without(_sending({}), path)
	sending == {_not_measured}
}

test_deny_reading_when_a_flag_that_speaks_for_it_is_none[name] if {
	some path in ["/facts/context/session_ended", "/facts/context/digest_matches"]
	some value in [null, "true", "false", "", 0, 1, [], {}]
	name := $"{path} is {json.marshal(value)}"
	got := context.deny with input as _with(data.base, path, value)
	got == {_not_measured}
}

_asked_of_effects := {
	"/facts/context/goal_changed",
	"/facts/context/stale_reads",
	"/facts/provenance",
	"/facts/provenance_unlisted",
}

test_deny_effects_when_what_they_rest_on_is_none[name] if {
	some path in _asked_of_effects
	some value in [null, "true", "", -1, {}]
	name := $"{path} is {json.marshal(value)}"
	got := context.deny with input as _with(_sending({}), path, value)
	_not_measured in got
}

test_deny_effects_when_what_they_rest_on_is_absent[path] if {
	some path in _asked_of_effects
	got := context.deny with input as _without(_sending({}), path)
	got == {_not_measured}
}

test_deny_effects_when_an_argument_has_no_place[name] if {
	credible := {"path": "/to", "kind": "recipient", "source": "goal", "step": 0}
	some name, argument in {
		"absent": object.remove(credible, ["path"]),
		"null": object.union(credible, {"path": null}),
		"number": object.union(credible, {"path": 1}),
		"empty": object.union(credible, {"path": ""}),
		"no pointer": object.union(credible, {"path": "to"}),
	}
	got := context.deny with input as _sending({"provenance": [credible, argument]})
	got == {_not_measured}
}

test_deny_effects_when_an_argument_is_no_object[name] if {
	some argument in [null, "/to", 1, false, ["/to"]]
	name := json.marshal(argument)
	got := context.deny with input as _sending({"provenance": [argument]})
	got == {_not_measured}
}

test_deny_effects_of_a_tool_without_effects_when_nothing_is_measured if {
	got := context.deny with input as {}
	got == {_not_measured}
}

test_pass_reading_whatever_it_rests_on[name] if {
	some name, given in {
		"goal changed": _measured({"goal_changed": true}),
		"goal not measured": _without(data.base, "/facts/context/goal_changed"),
		"stale reads not measured": _without(data.base, "/facts/context/stale_reads"),
		"provenance not measured": _without(data.base, "/facts/provenance"),
		"untrusted host": _given({"provenance": [{"path": "/url", "kind": "host", "source": "untrusted", "step": 2}]}),
		"unlisted arguments": _given({"provenance_unlisted": 3, "context": {"untrusted_since_step": 1}}),
	}
	denied := context.deny with input as given
	denied == set()
	escalated := context.escalate with input as given
	escalated == set()
}

test_escalate_another_goal if {
	got := context.escalate with input as _sending({"context": {"goal_changed": true}})
	got == {{
		"code": "context.goal_changed",
		"message": "A person must look at another goal",
		"metadata": {},
	}}
}

test_escalate_another_goal_of_a_tool_that_declares_nothing if {
	given := object.union(_measured({"goal_changed": true}), {"tool": {"effects": []}})
	got := context.escalate with input as given
	_codes(got) == {"context.goal_changed"}
}

test_escalate_untrusted_argument if {
	got := context.escalate with input as _sending({"provenance": [
		{"path": "/to", "kind": "recipient", "source": "untrusted", "step": 4},
		{"path": "/subject", "kind": "text", "source": "untrusted", "step": 4},
		{"path": "/amount", "kind": "amount", "source": "goal", "step": 0},
	]})
	got == {{
		"code": "context.untrusted_argument",
		"message": "A person must look at an untrusted argument",
		"metadata": {"kind": "recipient", "source": "untrusted", "step": 4},
		"path": "/to",
	}}
}

test_escalate_each_untrusted_argument if {
	got := context.escalate with input as _sending({"provenance": [
		{"path": "/to/0", "kind": "recipient", "source": "untrusted", "step": 4},
		{"path": "/to/1", "kind": "recipient", "source": "untrusted", "step": 4},
		{"path": "/amount", "kind": "amount", "source": "unknown", "step": 0},
	]})
	{reason.path | some reason in got} == {"/amount", "/to/0", "/to/1"}
}

# By kind and source: whether a person must look, in a session that read nothing untrusted and in one that did.
_looks := {
	"recipient": {
		"goal": [false, false], "trusted": [false, false], "untrusted": [true, true],
		"unseen": [false, true], "unknown": [true, true],
	},
	"host": {
		"goal": [false, false], "trusted": [false, false], "untrusted": [true, true],
		"unseen": [false, true], "unknown": [true, true],
	},
	"amount": {
		"goal": [false, false], "trusted": [false, false], "untrusted": [true, true],
		"unseen": [false, false], "unknown": [true, true],
	},
	"path": {
		"goal": [false, false], "trusted": [false, false], "untrusted": [false, false],
		"unseen": [false, false], "unknown": [false, false],
	},
	"text": {
		"goal": [false, false], "trusted": [false, false], "untrusted": [false, false],
		"unseen": [false, false], "unknown": [false, false],
	},
	"other": {
		"goal": [false, false], "trusted": [false, false], "untrusted": [true, true],
		"unseen": [true, true], "unknown": [true, true],
	},
}

test_escalate_by_kind_and_source[name] if {
	some kind, sources in _looks
	some source, looks in sources
	some step, look in looks
	name := $"{kind} {source}, untrusted since step {step}"
	got := context.escalate with input as _sending({
		"provenance": [{"path": "/a", "kind": kind, "source": source, "step": 0}],
		"context": {"untrusted_since_step": step},
	})
	_codes(got) == {"context.untrusted_argument" | look}
}

test_escalate_argument_of_which_a_part_is_absent[name] if {
	argument := {"path": "/to", "kind": "recipient", "source": "unseen", "step": 0}
	some name, lacking in {
		"kind": object.remove(argument, ["kind"]),
		"source": object.remove(argument, ["source"]),
		"kind is null": object.union(argument, {"kind": null}),
		"source is null": object.union(argument, {"source": null}),
		"kind in another case": object.union(argument, {"kind": "Text"}),
		"source in another case": object.union(argument, {"source": "Trusted"}),
	}
	got := context.escalate with input as _sending({"provenance": [lacking]})
	_codes(got) == {"context.untrusted_argument"}
}

test_escalate_unseen_recipient_when_taint_is_not_known[name] if {
	unseen := _sending({"provenance": [{"path": "/to", "kind": "recipient", "source": "unseen", "step": 0}]})
	path := "/facts/context/untrusted_since_step"
	some name, given in {
		"absent": _without(unseen, path),
		"null": _with(unseen, path, null),
		"text": _with(unseen, path, "0"),
		"false": _with(unseen, path, false),
		"no context": _without(unseen, "/facts/context"),
	}
	got := context.escalate with input as given
	_codes(got) == {"context.untrusted_argument"}
}

test_escalate_unlisted_arguments_of_a_tainted_session if {
	got := context.escalate with input as _sending({
		"provenance_unlisted": 1,
		"context": {"untrusted_since_step": 1},
	})
	got == {{
		"code": "context.unlisted_arguments",
		"message": "A person must look at so many arguments",
		"metadata": {"count": 1},
	}}
}

test_escalate_no_unlisted_arguments[name] if {
	some name, facts in {
		"none in a tainted session": {"provenance_unlisted": 0, "context": {"untrusted_since_step": 1}},
		"many in a session that read nothing untrusted": {"provenance_unlisted": 1000},
	}
	got := context.escalate with input as _sending(facts)
	got == set()
}
