"""Which tools a policy shows, over a real OPA: the policies that ship, and policies that answer out of contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from interlock.core.errors import ErrorReason, InterlockError
from tests.contract.sidecars import Running, running, sign_unchecked
from tests.policy_inputs import an_input
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The goal of the first input says how the policy answers.
POLICY = """
package interlock.decision

result := {"verdict": "deny", "reasons": [], "obligations": [], "reservations": []}

offered := answers if {
    answers := {
        "short": [true],
        "text": [true, "true"],
        "number": [1, 1],
        "null": [null, true],
        "object": {"0": true, "1": true},
        "boolean": true,
        "good": [false, true],
    }[input.batch[0].context.goal]
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scripted(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A policy that answers in the way that the first input's goal names."""
    options = sign_unchecked(opa, tmp_path_factory.mktemp("scripted"), {"decision.rego": POLICY})
    async with running(options) as parts:
        yield parts


async def asked(parts: Running, goal: str) -> list[bool]:
    inputs = [an_input(goal), an_input("second")]
    return await parts.engine.offered(inputs, limit_seconds=PATIENCE_SECONDS)


async def test_the_policies_that_ship_show_what_a_role_grants(shipped: Running) -> None:
    """A tool is shown to the roles that grant it, and to no other."""
    inputs = [an_input(role=role) for role in ("reader", "operator", "nobody")]
    shown = await shipped.engine.offered(inputs, limit_seconds=PATIENCE_SECONDS)
    assert shown == [True, True, False]


async def test_booleans_are_taken_as_they_are(scripted: Running) -> None:
    """One boolean for each input, in order, is the answer."""
    assert await asked(scripted, "good") == [False, True]


@pytest.mark.parametrize("goal", ["short", "text", "number", "null", "object", "boolean"])
async def test_an_answer_out_of_contract_shows_nothing(scripted: Running, goal: str) -> None:
    """Whatever is not one boolean for each input is an error, so that nothing is shown (invariant 1, case 6)."""
    with pytest.raises(InterlockError) as caught:
        await asked(scripted, goal)
    assert caught.value.reason is ErrorReason.POLICY_MALFORMED


async def test_a_policy_that_says_nothing_shows_nothing(scripted: Running) -> None:
    """An undefined answer is an error too (invariant 1, case 6)."""
    with pytest.raises(InterlockError) as caught:
        await asked(scripted, "nothing is defined for this")
    assert caught.value.reason is ErrorReason.POLICY_UNDEFINED
