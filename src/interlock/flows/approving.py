"""What showing and answering approvals needs of the world."""

from dataclasses import dataclass

from interlock.core.session import Measuring
from interlock.flows.follow import Following
from interlock.flows.page_tokens import Seal
from interlock.ports import Listings


@dataclass(frozen=True, slots=True, kw_only=True)
class Approving:
    """What the stories of approvers need. `seal` makes page tokens that only this service can have given."""

    following: Following
    listings: Listings
    measuring: Measuring
    seal: Seal
