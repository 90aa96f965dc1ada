"""The facts that a person sees with a question: those behind its reasons, without what is as it always is."""

from typing import Any

from interlock.core.shown_facts import MOST_FACTS, telling_facts
from tests.policy_inputs import quiet_facts


def facts(**changed: Any) -> dict[str, Any]:
    return {**quiet_facts(), "novelty": {"tool": False, "shape": False, "targets": []}, **changed}


def test_facts_that_are_as_always_are_left_out() -> None:
    """Where nothing was measured that speaks against a call, there is nothing to read."""
    assert (
        telling_facts(facts(), ["loops.similar_call", "retries.x", "breakers.open", "effects.needs_person"])
        == []
    )


def test_the_facts_behind_the_reasons_are_told() -> None:
    """A reason's topic names the facts that are told with it; what any call rests on, and what is new, always is."""
    quiet = facts()
    loud = facts(
        loops={**quiet["loops"], "session": {**quiet["loops"]["session"], "same_call": 3}},
        breaker={**quiet["breaker"], "state": "half_open", "opened": 2},
        context={**quiet["context"], "untrusted_since_step": 2, "digest_matches": False},
        provenance=[
            {"path": "/to", "kind": "recipient", "source": "untrusted", "step": 2},
            {"path": "/body", "kind": "text", "source": "goal", "step": 0},
        ],
        novelty={
            "tool": True,
            "shape": False,
            "targets": [
                {"path": "/to", "kind": "recipient", "first": True},
                {"path": "/cc", "kind": "recipient", "first": False},
            ],
        },
    )
    assert telling_facts(loud, ["loops.repeated_effect", "context.untrusted_argument"]) == [
        ("loops.session.same_call", "3"),
        ("novelty.tool", "yes"),
        ("novelty.targets", 'path "/to", kind "recipient", first yes'),
        ("context.digest_matches", "no"),
        ("context.untrusted_since_step", "2"),
        ("provenance", 'path "/to", kind "recipient", source "untrusted", step 2'),
    ]


def test_facts_have_a_bound_and_do_not_act() -> None:
    """A flood of arguments of unknown origin is a few lines, and that there are more is told (cases 43 and 52)."""
    flood = [
        {"path": f"/\u202e{number}", "kind": "recipient", "source": "unseen", "step": 0}
        for number in range(128)
    ]
    told = telling_facts(facts(provenance=flood), [])
    assert len(told) == MOST_FACTS + 1
    assert told[0] == ("provenance", 'path "/\\u202e0", kind "recipient", source "unseen", step 0')
    assert told[-1] == ("…", "104 more facts; the record of the decision has them all")
