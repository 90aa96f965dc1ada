package tests.approval_test

import data.interlock.approval

_asked := object.union({"proposal": data.base}, data.answers.asked)

_with(given) := object.union(_asked, given)

test_case[name] if {
	some name, expected in data.answers.cases
	got := approval.result with input as _with(expected.given)

	sort([reason.code | some reason in got.reasons]) == expected.want.codes
	got.permitted == _is_permission(expected.want)
	got == object.union(got, object.remove(expected.want, ["codes"]))
}

_is_permission(want) if want.codes == []

else := false

test_result_is_whole if {
	got := approval.result with input as _asked
	got == {
		"priority": 15,
		"expire_seconds": 3600,
		"use_seconds": 900,
		"most_pending": {"agent": 20, "agent_an_hour": 200, "tenant": 1000},
		"roles": ["approver", "senior-approver"],
		"quorum": 1,
		"permitted": true,
		"sufficient": true,
		"reasons": set(),
	}
}

test_refuse_with_code_and_text_of_the_rule if {
	got := approval.result with input as _with({"approver": {"roles": ["ghost"]}})
	got.reasons == {{
		"code": "approvals.role_missing",
		"message": "No role for this",
		"metadata": {"roles": ["approver", "senior-approver"]},
	}}
}

test_batch_keeps_order if {
	inputs := [_with(expected.given) | some expected in data.answers.cases]
	got := approval.batch with input as {"batch": inputs}

	got == [answer | some one in inputs; answer := approval.result with input as one]
	count(got) == count(inputs)
}

test_batch_is_empty_when_input_has_none if {
	got := approval.batch with input as {}
	got == []
}

# With no role at all to give away: whatever is missing or mistyped, nobody is let in by it.
test_permit_nobody_for_what_is_no_input[name] if {
	some name, given in {
		"null": null,
		"text": "approve",
		"array": [],
		"number": 1,
		"empty object": {},
		"nothing but an approver": {"approver": {"name": "alice", "roles": ["senior-approver"]}, "resolution": "approve"},
	}
	got := approval.result with input as given
	[got.permitted, got.sufficient, got.roles, got.quorum] == [false, false, [], 2]
	count(got.reasons) > 0
}

test_permit_nobody_for_a_member_that_is_absent_or_none[name] if {
	some path in [
		["proposal"], ["proposal", "tool"], ["proposal", "tool", "effects"], ["proposal", "tool", "known"],
		["proposal", "subject"], ["proposal", "subject", "tenant"], ["proposal", "subject", "roles"],
		["authors"], ["approver"], ["approver", "name"], ["approver", "roles"],
		["resolution"], ["edited"], ["standing"],
	]
	some kind, value in {"absent": "absent", "null": null, "text": "", "number": 1, "object": {}}
	name := $"{concat(".", path)} is {kind}"
	pointer := $"/{concat("/", path)}"
	patch := {true: {"op": "remove", "path": pointer}, false: {"op": "replace", "path": pointer, "value": value}}
	document := json.patch(_asked, [patch[kind == "absent"]])
	got := approval.result with input as document
	_no_more(path, kind, got)
}

# A tenant may have any name, so one that is empty is only another.
_no_more(path, kind, got) if {
	not _as_good(path, kind)
	[got.permitted, got.sufficient] == [false, false]
}

_no_more(path, kind, _) if _as_good(path, kind)

_as_good(["proposal", "subject", "tenant"], "text")

test_treat_as_irreversible_what_is_not_said_to_be_otherwise[name] if {
	some name, reversibility in {"null": null, "another word": "surely", "in another case": "Reversible", "true": true}
	got := approval.result with input as _with({"proposal": {"tool": {"reversibility": reversibility}}})
	[got.permitted, got.quorum, got.roles] == [false, 2, ["senior-approver"]]
}

test_count_no_answer_that_is_not_whole[name] if {
	some name, answers in {
		"null": null,
		"text": "bob",
		"an answer is text": ["bob"],
		"no name": [{"roles": ["senior-approver"]}],
		"name is null": [{"approver": null, "roles": ["senior-approver"]}],
		"name is empty": [{"approver": "", "roles": ["senior-approver"]}],
		"name is a number": [{"approver": 7, "roles": ["senior-approver"]}],
		"no roles": [{"approver": "bob"}],
		"roles are text": [{"approver": "bob", "roles": "senior-approver"}],
		"a role is a number": [{"approver": "bob", "roles": ["senior-approver", 7]}],
	}
	given := {"proposal": {"tool": {"effects": ["pay"]}}, "approver": {"roles": ["senior-approver"]}, "answers": answers}
	got := approval.result with input as _with(given)
	[got.permitted, got.sufficient] == [true, false]
}

test_permit_nobody_among_authors_that_are_not_whole[name] if {
	some name, authors in {"null": ["ann", null], "empty": ["ann", ""], "number": [7], "text": "ann"}
	got := approval.result with input as _with({"authors": authors})
	got.permitted == false
}

test_approvers_data_that_is_wrong_permits_nobody[name] if {
	some name, may in {
		"null": null,
		"nothing": {},
		"text": "write",
		"effects are text": {"effects": "write", "irreversible": true},
		"effects are null": {"effects": null, "irreversible": true},
		"another effect": {"effects": ["read"], "irreversible": true},
		"irreversible is text": {"effects": ["write"], "irreversible": "true"},
		"irreversible is absent": {"effects": ["write"]},
	}
	got := approval.result with data.approvers as {"approver": may}
		with input as _with({"proposal": {"tool": {"reversibility": "irreversible"}}})
	[got.permitted, got.sufficient, got.roles] == [false, false, []]
}

test_standing_needs_the_word_of_the_data[name] if {
	some name, standing in {"absent": "absent", "null": null, "text": "true", "number": 1, "false": false}
	may := {true: {"effects": ["write"]}, false: {"effects": ["write"], "standing": standing}}
	got := approval.result with data.approvers as {"approver": may[standing == "absent"]}
		with input as _with({"standing": true})
	{reason.code | some reason in got.reasons} == {"approvals.standing_role_missing"}
}

test_a_role_that_covers_the_call_lends_nothing_to_one_that_may_give_standing_approvals if {
	got := approval.result with data.approvers as {
		"writer": {"effects": ["write"], "standing": false},
		"standing-reader": {"effects": ["read"], "standing": true},
	}
		with input as _with({"approver": {"roles": ["writer", "standing-reader"]}, "standing": true})
	{reason.code | some reason in got.reasons} == {"approvals.standing_role_missing"}
}

test_two_roles_do_not_add_up if {
	got := approval.result with data.approvers as {"writer": {"effects": ["write"]}, "sender": {"effects": ["send"]}}
		with input as _with({
			"proposal": {"tool": {"effects": ["send", "write"]}},
			"approver": {"roles": ["sender", "writer"]},
		})
	[got.permitted, got.roles] == [false, []]
}

test_no_result_where_a_limit_is_none[name] if {
	some name, broken in {
		"no topic": object.remove(data.limits, ["approvals"]),
		"topic is null": object.union(data.limits, {"approvals": null}),
		"seconds are text": object.union(data.limits, {"approvals": {"seconds": {"expire": "3600"}}}),
		"quorum of nobody": object.union(data.limits, {"approvals": {"quorum": {"write": 0}}}),
		"quorum is null": object.union(data.limits, {"approvals": {"quorum": {"pay": null}}}),
		"points are a boolean": object.union(data.limits, {"approvals": {"points": {"tainted": true}}}),
		"one too many": object.union(data.limits, {"approvals": {"quorum": {"reversible": 1}}}),
	}
	got := [result | result := approval.result with data.limits as broken with input as _asked]
	got == []
}

test_terms_are_those_of_who_proposes[name] if {
	overriding := object.union(data.limits, {"overrides": {
		"tenants": {"acme": {"approvals": {"quorum": {"write": 3}}}},
		"roles": {"intern": {"approvals": {"seconds": {"expire": 60}, "pending": {"agent": 2}}}},
	}})
	some name, expected in {
		"tenant": {"subject": {}, "want": [3, 3600, 20]},
		"another tenant": {"subject": {"tenant": "other"}, "want": [1, 3600, 20]},
		"role": {"subject": {"tenant": "other", "roles": ["intern"]}, "want": [1, 60, 2]},
		"both": {"subject": {"roles": ["intern"]}, "want": [3, 60, 2]},
	}
	got := approval.result with data.limits as overriding with input as _with({"proposal": {"subject": expected.subject}})
	[got.quorum, got.expire_seconds, got.most_pending.agent] == expected.want
}

test_priority[name] if {
	some name, expected in {
		"write": {"given": {}, "want": 15},
		"read": {"given": {"proposal": {"tool": {"effects": ["read"]}}}, "want": 5},
		"largest effect": {"given": {"proposal": {"tool": {"effects": ["read", "pay"]}}}, "want": 40},
		"nobody knows whether it can be undone": {"given": {"proposal": {"tool": {"reversibility": "unknown"}}}, "want": 25},
		"nothing undoes it": {"given": {"proposal": {"tool": {"reversibility": "irreversible"}}}, "want": 40},
		"new tool": {"given": {"proposal": {"facts": {"novelty": {"tool": true, "shape": true}}}}, "want": 30},
		"new shape": {"given": {"proposal": {"facts": {"novelty": {"shape": true}}}}, "want": 20},
		"new target": {"given": {"proposal": {"facts": {"novelty": {"targets": [{"first": false}, {"first": true}]}}}}, "want": 25},
		"two reasons more": {"given": {"reasons": [{}, {}, {}]}, "want": 25},
		"no reason": {"given": {"reasons": []}, "want": 15},
		"unlisted": {"given": {"proposal": {"facts": {"provenance_unlisted": 3}}}, "want": 20},
		"tainted": {"given": {"proposal": {"facts": {"context": {"untrusted_since_step": 1}}}}, "want": 30},
		"what is not measured": {"given": {"proposal": {"facts": null}}, "want": 60},
		"unknown effect": {"given": {"proposal": {"tool": {"effects": ["teleport"]}}}, "want": 40},
		"all at once": {"given": _worst, "want": 100},
	}
	got := approval.result with input as _with(expected.given)
	got.priority == expected.want
}

_worst := {
	"proposal": {
		"tool": {"effects": ["pay"], "reversibility": "irreversible"},
		"facts": {
			"novelty": {"tool": true, "shape": true, "targets": [{"first": true}]},
			"provenance_unlisted": 1,
			"context": {"untrusted_since_step": 1},
		},
	},
	"reasons": [{}, {}, {}, {}],
}

test_approvers_that_ship_cover_every_effect_and_name_no_other if {
	vocabulary := data.interlock.rules.effects._vocabulary
	vocabulary == {effect | some role in data.approvers; some effect in role.effects}
	vocabulary == object.keys(data.limits.approvals.effect_points)
	vocabulary == object.keys(data.limits.approvals.quorum) - {"irreversible"}
}
