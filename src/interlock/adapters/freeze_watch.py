"""ports.Freezes: what a gateway last heard of freezes from the decision service."""

from interlock.core.token import Claims


class FreezeWatch:
    """Asks the decision service again and again; knows nothing once it has heard nothing for two seconds."""

    def check(self, claims: Claims) -> None:
        """As ports.Freezes."""
