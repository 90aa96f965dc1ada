"""The decision service as it would be without facts, to compare with: `python bench/plain_service.py serve`.

It counts nothing, keeps nothing of a session, and tells the policy nothing but that no argument breaks its schema and
nothing is frozen, as it is in the load. All else is the product's, which has no such switch itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from unittest import mock

from interlock.cli.main import main
from interlock.core.observing import Observed
from interlock.core.proposal import Proposal
from interlock.flows.decide import Decider

_FACTS: Any = {"violations": [], "freezes": [], "standing": []}


async def observe_nothing(
    proposals: Sequence[Proposal],
    _decider: Decider,
    **_now: datetime,
) -> list[Observed]:
    """In place of the counting."""
    return [Observed(facts=_FACTS, user="", state_digest="", to_mark=()) for _ in proposals]


if __name__ == "__main__":
    with mock.patch("interlock.flows.decide._observe", observe_nothing):
        main()
