package tests.rules.approvals_test

import data.interlock.decision
import data.interlock.rules.approvals

_approval := {
	"approval_id": "approval-1",
	"state": "approved",
	"decision_id": "decision-1",
	"codes": ["effects.needs_person"],
	"answers": [
		{"approver": "bob", "roles": ["approver"], "comment": "", "unix": 1},
		{"approver": "alice", "roles": ["approver"], "comment": "yes", "unix": 2},
	],
	"edits": [],
}

_standing(name, more) := object.union(
	{
		"standing_id": name,
		"approvers": ["alice"],
		"codes": ["effects.needs_person"],
		"remaining": 3,
		"expires_unix": 100,
	},
	more,
)

# What other topics escalate.
_asking(codes) := {"other": {"escalate": {{"code": code} | some code in codes}}}

test_deny[state] if {
	some state, message in {
		"denied": "Denied by a person",
		"expired": "The approval has expired",
		"withdrawn": "The proposal was withdrawn",
	}
	got := approvals.deny with input as {"approval": object.union(_approval, {"state": state, "answers": []})}
	got == {{"code": $"approvals.{state}", "message": message, "metadata": {"approval_id": "approval-1"}}}
}

test_deny_without_the_name_of_the_approval[state] if {
	some state in ["denied", "expired", "withdrawn"]
	got := approvals.deny with input as {"approval": {"state": state}}
	[[reason.code, reason.metadata] | some reason in got] == [[$"approvals.{state}", {}]]
}

test_deny_a_state_that_is_not_known[name] if {
	some name, given in {
		"no input": {},
		"pending": {"approval": object.union(_approval, {"state": "pending"})},
		"superseded": {"approval": object.union(_approval, {"state": "superseded"})},
		"in another case": {"approval": object.union(_approval, {"state": "Approved"})},
		"null": {"approval": object.union(_approval, {"state": null})},
		"no state": {"approval": object.remove(_approval, ["state"])},
		"text": {"approval": "approved"},
		"false": {"approval": false},
		"empty": {"approval": {}},
	}
	got := approvals.deny with input as given
	{reason.code | some reason in got} == {"approvals.unknown_state"}
}

test_deny_nothing[name] if {
	some name, approval in {"no approval": null, "approved": _approval}
	got := approvals.deny with input as {"approval": approval}
	got == set()
}

test_answer_with_what_people_saw if {
	got := approvals.answer with input as {"approval": _approval}
	got == {{
		"code": "approvals.approved",
		"message": "Approved by people",
		"metadata": {
			"approval_id": "approval-1",
			"approvers": ["alice", "bob"],
			"codes": ["effects.needs_person"],
		},
	}}
}

test_answer_nothing[name] if {
	some name, approval in {
		"no approval": null,
		"denied": object.union(_approval, {"state": "denied"}),
		"pending": object.union(_approval, {"state": "pending"}),
		"nobody": object.union(_approval, {"answers": []}),
		"answers are null": object.union(_approval, {"answers": null}),
		"answers are text": object.union(_approval, {"answers": "alice"}),
		"somebody without a name": object.union(_approval, {"answers": [{"roles": ["approver"]}]}),
		"no codes": object.remove(_approval, ["codes"]),
		"no name": object.remove(_approval, ["approval_id"]),
	}
	got := approvals.answer with input as {"approval": approval} with data.interlock.rules.other as {}
	got == set()
}

_answered_by(standing, approval, codes) := [answers, reserved] if {
	given := {"approval": approval, "facts": {"standing": standing}}
	answers := [reason.metadata.standing_id |
		some reason in approvals.answer with input as given with data.interlock.rules.other as _asking(codes).other
		reason.code == "approvals.standing"
	]
	reserved := approvals.reserve with input as given with data.interlock.rules.other as _asking(codes).other
}

test_standing_approval_answers_and_is_used if {
	got := approvals.answer with input as {"approval": null, "facts": {"standing": [_standing("s-1", {})]}}
		with data.interlock.rules.other as _asking({"effects.needs_person"}).other
	got == {{
		"code": "approvals.standing",
		"message": "Approved before it was proposed",
		"metadata": {"standing_id": "s-1", "approvers": ["alice"], "codes": ["effects.needs_person"]},
	}}
}

test_one_standing_approval_is_chosen[name] if {
	both := ["effects.needs_person", "loops.steps"]
	some name, expected in {
		"the first to expire": {
			"standing": [_standing("s-1", {}), _standing("s-2", {"expires_unix": 50})],
			"codes": {"effects.needs_person"},
			"want": "s-2",
		},
		"by name, of two that expire at once": {
			"standing": [_standing("s-2", {}), _standing("s-1", {})],
			"codes": {"effects.needs_person"},
			"want": "s-1",
		},
		"the only one that answers everything": {
			"standing": [_standing("s-1", {"expires_unix": 50}), _standing("s-2", {"codes": both})],
			"codes": {"effects.needs_person", "loops.steps"},
			"want": "s-2",
		},
		"the first to expire, though it answers more": {
			"standing": [_standing("s-1", {}), _standing("s-2", {"codes": both, "expires_unix": 50})],
			"codes": {"effects.needs_person"},
			"want": "s-2",
		},
	}
	[answers, reserved] := _answered_by(expected.standing, null, expected.codes)
	answers == [expected.want]
	reserved == {{"type": "standing", "standing_id": expected.want}}
}

test_what_an_approval_leaves_is_answered_by_a_standing_one if {
	standing := [_standing("s-1", {"codes": ["loops.steps"]})]
	[answers, reserved] := _answered_by(standing, _approval, {"effects.needs_person", "loops.steps"})
	answers == ["s-1"]
	count(reserved) == 1
}

test_use_no_standing_approval[name] if {
	some name, expected in {
		"nothing is asked": {"standing": [_standing("s-1", {})], "approval": null, "codes": set()},
		"an approval answers everything": {
			"standing": [_standing("s-1", {})],
			"approval": _approval,
			"codes": {"effects.needs_person"},
		},
		"it answers something else": {
			"standing": [_standing("s-1", {"codes": ["loops.steps"]})],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"it answers only a part": {
			"standing": [_standing("s-1", {})],
			"approval": null,
			"codes": {"effects.needs_person", "loops.steps"},
		},
		"it is used up": {
			"standing": [_standing("s-1", {"remaining": 0})],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"it remains as text": {
			"standing": [_standing("s-1", {"remaining": "many"})],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"nobody gave it": {
			"standing": [_standing("s-1", {"approvers": null})],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"it has no codes": {
			"standing": [_standing("s-1", {"codes": null})],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"it has no name": {
			"standing": [object.remove(_standing("s-1", {}), ["standing_id"])],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"its name is a number": {
			"standing": [_standing(7, {})],
			"approval": null,
			"codes": {"effects.needs_person"},
		},
		"they are null": {"standing": null, "approval": null, "codes": {"effects.needs_person"}},
	}
	[answers, reserved] := _answered_by(expected.standing, expected.approval, expected.codes)
	[answers, reserved] == [[], set()]
}

# Case 51, and what is asked anew: through the entry point, with the rules that ship.
_reset := object.union(data.base, {
	"subject": {"roles": ["operator"]},
	"tool": {"name": "git_reset", "effects": ["delete", "write"]},
})

test_escalate_again_for_a_reason_that_nobody_has_seen if {
	steps := {"facts": {"loops": {"session": {"steps": 500}}}}
	got := decision.result with input as object.union_n([_reset, {"approval": _approval}, steps])
	got.verdict == "escalate"
	{reason.code | some reason in got.reasons} == {"effects.needs_person", "loops.steps"}
	[got.obligations, got.reservations] == [set(), set()]
}

test_approved_call_is_done_under_what_any_call_is if {
	approved := decision.result with input as object.union(_reset, {"approval": _approval})
	granted := decision.result with input as object.union(_reset, {"tool": {"effects": ["write"]}})
	[approved.verdict, granted.verdict] == ["allow", "allow"]
	[approved.obligations, approved.reservations] == [granted.obligations, granted.reservations]
}
