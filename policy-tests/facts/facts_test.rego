package tests.facts_test

import data.interlock.facts

test_counts[name] if {
	some name, values in {
		"zero": [0],
		"one": [1],
		"several": [0, 3, 1000000],
		"a share": [0.5],
	}
	facts.are_counts(values)
}

test_no_counts[name] if {
	some name, values in {
		"none at all": [],
		"below zero": [1, -1, 2],
		"null": [1, null],
		"boolean": [true, 1],
		"text": [1, "1"],
		"empty text": [1, ""],
		"array": [[1], 1],
		"object": [1, {}],
		"set": [1, set()],
	}
	not facts.are_counts(values)
}

test_no_counts_when_one_is_absent if {
	got := [true | facts.are_counts([input.first, input.second])] with input as {"first": 1}
	got == []
}
