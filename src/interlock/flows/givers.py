"""Who gave an approval: it holds for as long as the credentials of all of them do (case 50)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from interlock.core.observing import Observed
from interlock.core.standing import StandingApproval, as_fact
from interlock.ports import Credentials


async def with_valid_givers(observed: Sequence[Observed], credentials: Credentials) -> list[Observed]:
    """What was measured, without standing approvals of people whose credential was revoked since.

    Raises InterlockError: DECISION_LOG_UNAVAILABLE.
    """
    return [await _with_valid_givers(each, credentials) if each.standing else each for each in observed]


async def still_given(
    standing: Iterable[StandingApproval], credentials: Credentials
) -> tuple[StandingApproval, ...]:
    """Those whose givers all still have the credential that they answered with."""
    return tuple([each for each in standing if await all_hold(each.credential_ids, credentials)])


async def _with_valid_givers(observed: Observed, credentials: Credentials) -> Observed:
    standing = await still_given(observed.standing, credentials)
    return replace(
        observed,
        standing=standing,
        facts={**observed.facts, "standing": [as_fact(each) for each in standing]},
    )


async def all_hold(credential_ids: Iterable[str], credentials: Credentials) -> bool:
    """Whether none of these credentials was revoked since. Raises InterlockError: DECISION_LOG_UNAVAILABLE."""
    for credential_id in credential_ids:
        found = await credentials.find(credential_id)
        if found is None or found.revoke_time is not None:
            return False
    return True
