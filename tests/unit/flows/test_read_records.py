"""An auditor reads the own tenant's records and the service's own, page by page, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.keyed_digest import KeyedDigest
from interlock.core.errors import ErrorReason, InterlockError
from interlock.core.identity import Caller
from interlock.core.record import Draft, RecordType
from interlock.flows.page_tokens import DEFAULT_PAGE, LARGEST_PAGE
from interlock.flows.read_records import Query, get_record, list_records
from tests.fakes import NOON, MemoryDecisionLog
from tests.proposals import AUDITOR

SEAL = KeyedDigest(bytes(32), "page-tokens")
OTHER = replace(AUDITOR, tenant="other")
ALL = Query(page_size=0, page_token="", type=None, decision_id="")


def a_draft(tenant: str, type: RecordType = RecordType.DECISION, decision_id: str = "") -> Draft:
    return Draft(type=type, tenant=tenant, once="", decision_id=decision_id, timestamp=NOON, fields={})


@pytest.fixture
async def log() -> MemoryDecisionLog:
    """Records 0 to 6: the service's own, then acme, other, acme, acme, other, acme."""
    log = MemoryDecisionLog()
    await log.append(
        [
            a_draft("", RecordType.POLICY_ACTIVATION),
            a_draft("acme", decision_id="decision-1"),
            a_draft("other", decision_id="decision-2"),
            a_draft("acme", RecordType.OUTCOME, decision_id="decision-1"),
            a_draft("acme", RecordType.FAILURE),
            a_draft("other", RecordType.OUTCOME, decision_id="decision-2"),
            a_draft("acme", decision_id="decision-3"),
        ]
    )
    return log


async def page(log: MemoryDecisionLog, query: Query = ALL, caller: Caller = AUDITOR) -> tuple[list[int], str]:
    found, following = await list_records(query, caller, log, SEAL)
    return [record.log_index for record in found], following


async def pages(log: MemoryDecisionLog, query: Query, caller: Caller = AUDITOR) -> list[list[int]]:
    found = []
    while True:
        indexes, following = await page(log, query, caller)
        found.append(indexes)
        if not following:
            return found
        query = replace(query, page_token=following)


async def test_an_auditor_sees_the_own_tenant_and_the_service(log: MemoryDecisionLog) -> None:
    """Records of the tenant and those of no tenant are listed, oldest first; another's are not (case 54)."""
    assert await page(log) == ([0, 1, 3, 4, 6], "")
    assert await page(log, caller=OTHER) == ([0, 2, 5], "")


async def test_records_are_listed_by_type_and_decision(log: MemoryDecisionLog) -> None:
    """Filters narrow what is visible and never widen it."""
    assert await page(log, replace(ALL, type=RecordType.OUTCOME)) == ([3], "")
    assert await page(log, replace(ALL, decision_id="decision-1")) == ([1, 3], "")
    assert await page(log, replace(ALL, decision_id="decision-1", type=RecordType.OUTCOME)) == ([3], "")
    assert await page(log, replace(ALL, decision_id="decision-2")) == ([], "")


@settings(deadline=None)
@given(size=st.integers(1, 7))
async def test_pages_give_every_record_once(size: int) -> None:
    """Whatever the page size, pages together are the whole list, and only the last has no token (AIP-158)."""
    log = MemoryDecisionLog()
    await log.append([a_draft(tenant) for tenant in ("acme", "other", "acme", "", "acme", "other", "acme")])
    found = await pages(log, replace(ALL, page_size=size))
    assert [index for one in found for index in one] == [0, 2, 3, 4, 6]
    assert all(len(one) == size for one in found[:-1])


async def test_the_page_size_may_change_between_pages(log: MemoryDecisionLog) -> None:
    """A page token goes with any page size (AIP-158)."""
    _, token = await page(log, replace(ALL, page_size=1))
    assert await page(log, replace(ALL, page_size=3, page_token=token)) == (
        [1, 3, 4],
        (await page(log, replace(ALL, page_size=4)))[1],
    )


async def test_a_page_is_bounded() -> None:
    """Zero is the default size, and what is out of range is refused, not cut (case 32)."""
    log = MemoryDecisionLog()
    await log.append([a_draft("acme") for _ in range(DEFAULT_PAGE + 1)])
    assert len((await page(log))[0]) == DEFAULT_PAGE
    assert len((await page(log, replace(ALL, page_size=LARGEST_PAGE)))[0]) == DEFAULT_PAGE + 1
    for size in (-1, LARGEST_PAGE + 1):
        with pytest.raises(InterlockError) as raised:
            await page(log, replace(ALL, page_size=size))
        assert raised.value.violations[0].field == "page_size"


async def refused(log: MemoryDecisionLog, query: Query, caller: Caller = AUDITOR) -> None:
    with pytest.raises(InterlockError) as raised:
        await page(log, query, caller)
    assert raised.value.reason is ErrorReason.INVALID_FIELD
    assert raised.value.violations[0].field == "page_token"


async def test_a_page_token_is_bound_to_tenant_and_filter(log: MemoryDecisionLog) -> None:
    """A token of another tenant or another filter is refused (case 54)."""
    narrow = replace(ALL, page_size=1, decision_id="decision-1", type=None)
    for query in (replace(ALL, page_size=1), narrow):
        _, token = await page(log, query)
        assert token
        await refused(log, replace(query, page_token=token), OTHER)
        await refused(log, replace(query, page_token=token, type=RecordType.OUTCOME))
        await refused(log, replace(query, page_token=token, decision_id="decision-3"))


async def test_a_page_token_of_another_key_is_refused(log: MemoryDecisionLog) -> None:
    """Only this service's key makes page tokens, and only for this purpose."""
    query = replace(ALL, page_size=1)
    for foreign in (KeyedDigest(bytes(31) + b"1", "page-tokens"), KeyedDigest(bytes(32), "other")):
        _, token = await list_records(query, AUDITOR, log, foreign)
        await refused(log, replace(query, page_token=token))


async def test_a_page_token_that_was_changed_is_refused(log: MemoryDecisionLog) -> None:
    """A token names one place; to name another place, or the same one in another way, it needs the key."""
    query = replace(ALL, page_size=1)
    _, token = await page(log, query)
    place, _, seal = token.partition(".")
    assert place == "1"
    changed = [
        f"0.{seal}",
        f"2.{seal}",
        f"01.{seal}",
        f"+1.{seal}",
        f" 1.{seal}",
        f"1.{seal}=",
        f"1.{seal[:-1]}",
    ]
    changed += [
        f"-1.{seal}",
        f"\N{ARABIC-INDIC DIGIT ONE}.{seal}",
        f"1.{seal} ",
        f"1 .{seal}",
        place,
        f"{place}.",
        f".{seal}",
        seal,
    ]
    changed += [f"{'9' * 5000}.{seal}", f"1.{seal[:-1]}\udc80"]
    for text in changed:
        await refused(log, replace(query, page_token=text))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=80))
async def test_no_guess_is_a_page_token(text: str) -> None:
    """Text that this service did not give is refused, and breaks nothing."""
    await refused(MemoryDecisionLog(), replace(ALL, page_token=text))


async def test_one_record_is_read_as_it_stands(log: MemoryDecisionLog) -> None:
    """The record of the own tenant, and of the service itself, is given whole."""
    for place in (0, 1, 6):
        assert await get_record(place, AUDITOR, log) == log.records[place]


@pytest.mark.parametrize("place", [2, 5, 7, -1, 2**53, 2**64])
async def test_anothers_record_is_not_there(log: MemoryDecisionLog, place: int) -> None:
    """Another tenant's record has the answer of one that does not exist (case 54)."""
    with pytest.raises(InterlockError) as raised:
        await get_record(place, AUDITOR, log)
    assert (raised.value.reason, raised.value.message) == (
        ErrorReason.RECORD_NOT_FOUND,
        f"there is no record `{place}`",
    )
