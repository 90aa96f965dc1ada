# METADATA
# title: Context
# description: |
#   What a call rests on: whether the session is what the agent takes it for, and whether what the call says came from
#   somebody who may say it
package interlock.rules.context

import data.interlock.facts
import data.interlock.reasons
import data.interlock.tools

# METADATA
# title: The session has ended
# description: It did nothing for longer than a session may, so what the agent knows of the world is old
# custom:
#   code: context.session_ended
deny contains reason if {
	input.facts.context.session_ended == true
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: The agent's state is another
# description: The digest that the agent sent is not the one that the session's last answer gave
# custom:
#   code: context.state_mismatch
deny contains reason if {
	input.facts.context.digest_sent == true
	input.facts.context.digest_matches == false
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: Acting on a stale read
# description: Memory entries that the call rests on were written since they were read, or never held what was read
# custom:
#   code: context.stale_read
deny contains reason if {
	input.facts.context.stale_reads[0]
	not tools.only_reads
	metadata := {"keys": sort({read.key | some read in input.facts.context.stale_reads})}
	reason := reasons.from_rule(rego.metadata.chain(), metadata)
}

# METADATA
# title: The context was not measured
# description: The facts do not say, in the terms that the policy knows, what the call rests on
# custom:
#   code: context.not_measured
deny contains reason if {
	not _measured
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: A person must look at another goal
# description: The goal is not the one that the session began with; who has read an attacker's text may restate it
# custom:
#   code: context.goal_changed
escalate contains reason if {
	input.facts.context.goal_changed == true
	not tools.only_reads
	reason := reasons.from_rule(rego.metadata.chain(), {})
}

# METADATA
# title: A person must look at an untrusted argument
# description: |
#   A recipient, host or amount was seen in nothing but untrusted text, or nobody knows where; or a recipient or host
#   was seen nowhere, in a session that has read untrusted text
# custom:
#   code: context.untrusted_argument
#   change:
#     always_approved: |
#       # the catalog, for the tool whose answers it read, if nobody else can write into those
#       results: trusted
escalate contains reason if {
	not tools.only_reads
	some argument in input.facts.provenance
	not _credible(argument)
	metadata := {name: argument[name] | some name in ["kind", "source", "step"]}
	reason := reasons.from_rule_at(rego.metadata.chain(), metadata, argument.path)
}

# METADATA
# title: A person must look at so many arguments
# description: The session has read untrusted text, and of some arguments nobody knows where they came from
# custom:
#   code: context.unlisted_arguments
#   change:
#     always_approved: |
#       # the catalog, for the tool whose answers it read, if nobody else can write into those
#       results: trusted
escalate contains reason if {
	not tools.only_reads
	input.facts.provenance_unlisted > 0
	_tainted
	reason := reasons.from_rule(rego.metadata.chain(), {"count": input.facts.provenance_unlisted})
}

_tainted if not input.facts.context.untrusted_since_step == 0

# A path or a text is credible whatever its source: it names nobody to whom something goes.
_credible(argument) if argument.kind in {"path", "text"}

_credible(argument) if argument.source in {"goal", "trusted"}

_credible(argument) if {
	argument.source == "unseen"
	argument.kind == "amount"
}

_credible(argument) if {
	argument.source == "unseen"
	argument.kind in {"host", "recipient"}
	not _tainted
}

# Reading harms nobody but who reads, and so is not asked what it rests on.
_measured if {
	input.facts.context.session_ended == false
	input.facts.context.digest_matches == true
	tools.only_reads
}

_measured if {
	is_boolean(input.facts.context.session_ended)
	is_boolean(input.facts.context.digest_sent)
	is_boolean(input.facts.context.digest_matches)
	_grounds_measured
}

_grounds_measured if tools.only_reads

_grounds_measured if {
	is_boolean(input.facts.context.goal_changed)
	is_array(input.facts.context.stale_reads)
	is_array(input.facts.provenance)
	facts.are_counts([input.facts.provenance_unlisted])
	every argument in input.facts.provenance {
		is_string(argument.path)
		startswith(argument.path, "/")
	}
}
