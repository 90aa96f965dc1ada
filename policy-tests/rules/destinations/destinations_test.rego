package tests.rules.destinations_test

import data.interlock.rules.destinations

test_pass_without_destinations if {
	_denied([]) == set()
}

test_pass_when_all_lead_somewhere_good if {
	_denied([_destination(""), _destination("")]) == set()
}

test_deny_each_that_leads_nowhere_good[problem] if {
	some problem, title in {
		"malformed": "Not an address or a path of the one form",
		"outside_roots": "The path leads out of the declared folders",
		"not_public": "The address is not a public one",
	}
	_denied([_destination(""), _destination(problem)]) == {{
		"code": $"destinations.{problem}",
		"message": title,
		"metadata": {},
		"path": "/target",
	}}
}

test_pass_when_the_policy_data_names_the_host if {
	got := _denied([_destination("not_public")]) with data.limits.destinations as {"not_public_hosts": ["10.1.2.3"]}
	got == set()
}

test_deny_when_the_policy_data_names_hosts_otherwise[name] if {
	some name, named in {
		"another host": ["10.1.2.4"],
		"no list": "10.1.2.3",
		"nothing": null,
	}
	got := _denied([_destination("not_public")]) with data.limits.destinations as {"not_public_hosts": named}
	count(got) == 1
}

test_deny_when_the_policy_data_lacks_the_topic if {
	got := _denied([_destination("not_public")]) with data.limits as {}
	count(got) == 1
}

test_deny_when_destinations_are_not_known[name] if {
	some name, found in {
		"none": null,
		"text": "all",
		"another problem": [_destination("far")],
		"no problem field": [{"path": "/target"}],
		"no path": [{"problem": ""}],
		"no objects": ["/target"],
	}
	_denied(found) == {{
		"code": "destinations.not_known",
		"message": "Destinations are not known",
		"metadata": {},
	}}
}

_denied(found) := got if {
	got := destinations.deny with input.destinations as found
}

_destination(problem) := {
	"path": "/target",
	"kind": "url",
	"canonical": "https://10.1.2.3/",
	"host": "10.1.2.3",
	"root": "",
	"problem": problem,
}
