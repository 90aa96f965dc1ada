# METADATA
# title: Limits
# description: |
#   The numbers of limits/data.yaml as they hold for the subject: what is set for its tenant, else the largest number
#   that one of its roles sets, else the default
package interlock.limits

# METADATA
# description: The limits for the subject, by topic, by group, and by name
current := data.limits if data.limits.overrides == {"roles": {}, "tenants": {}}

else := data.limits if not _overridden

else := object.union_n([data.limits, _of_roles, _of_tenant])

# METADATA
# description: A topic has the named limits, by group, and no other, and each is a whole number above zero
are_set(topic, names) if {
	_keys(topic) == object.keys(names)
	every group, named in names {
		_keys(topic[group]) == named
		every limit in topic[group] {
			_is_limit(limit)
		}
	}
}

_keys(value) := object.keys(value) if is_object(value)

_is_limit(value) if {
	is_number(value)
	value >= 1
	floor(value) == value
}

_overridden if data.limits.overrides.tenants[input.subject.tenant]

_overridden if {
	some role in input.subject.roles
	data.limits.overrides.roles[role]
}

# One tool has one breaker, whoever calls it, and so its terms are those of the tenant.
_of_roles := _laid_out({[limit, topic, group, name] |
	some role in input.subject.roles
	limit := data.limits.overrides.roles[role][topic][group][name]
	topic != "breakers"
})

_of_tenant := _laid_out({[limit, topic, group, name] |
	limit := data.limits.overrides.tenants[input.subject.tenant][topic][group][name]
})

# Of several numbers for one limit, the largest stands last, and so holds. What is no number stands behind them all.
_laid_out(settings) := object.union_n([{topic: {group: {name: limit}}} |
	some [limit, topic, group, name] in sort(settings)
])
