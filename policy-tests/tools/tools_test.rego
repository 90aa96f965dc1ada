package tests.tools_test

import data.interlock.tools

test_only_reads_what_is_declared_so if {
	tools.only_reads with input as {"tool": {"effects": ["read"]}}
}

test_may_change_the_world[name] if {
	some name, given in {
		"writes": {"tool": {"effects": ["write"]}},
		"reads and writes": {"tool": {"effects": ["read", "write"]}},
		"declares nothing": {"tool": {"effects": []}},
		"effect in another case": {"tool": {"effects": ["Read"]}},
		"unknown effect": {"tool": {"effects": ["teleport"]}},
		"effects are text": {"tool": {"effects": "read"}},
		"effects are an object": {"tool": {"effects": {"0": "read"}}},
		"effects are null": {"tool": {"effects": null}},
		"effects are absent": {"tool": {}},
		"no tool": {},
	}
	not tools.only_reads with input as given
}
