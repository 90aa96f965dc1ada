"""The restricted capabilities, as a pure function of OPA's own."""

from interlock.adapters.policy_capabilities import EXCLUDED_BUILTINS, restrict

OWN = {
    "builtins": [
        {"name": "count"},
        {"name": "http.send", "nondeterministic": True},
        {"name": "dice.roll", "nondeterministic": True},
        {"name": "opa.runtime"},
    ],
    "features": ["rego_v1"],
    "future_keywords": ["not"],
}


def test_what_is_excluded_or_not_deterministic_is_left_out() -> None:
    """A builtin is left out for its name, and for what OPA says of it: a new one that rolls dice too (case 13)."""
    assert restrict(OWN)["builtins"] == [{"name": "count"}]


def test_nothing_else_is_taken_away() -> None:
    """Language features stay, so that what compiles is what was tested; the network is closed."""
    restricted = restrict(OWN)
    assert restricted["features"] == ["rego_v1"]
    assert restricted["future_keywords"] == ["not"]
    assert restricted["allow_net"] == []


def test_the_excluded_cover_what_the_design_names() -> None:
    """The three builtins that the policy contract names are excluded whatever OPA marks (case 13)."""
    assert {"http.send", "opa.runtime", "net.lookup_ip_addr"} <= EXCLUDED_BUILTINS
