"""Which policy bundle may be active: never one older than the newest that ever was (case 11)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from interlock.core.record import Draft, RecordType


class PolicyRollback(Exception):
    """A bundle that is older than one that was active; build it anew to make it the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPin:
    """The revision that is active, and the sequence of the newest bundle that ever was."""

    revision: str
    sequence: int


NO_POLICY = PolicyPin(revision="", sequence=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """`revision` is the active one from `time` on, says the service with these `labels`.

    `sequence` is the time of the bundle's build in milliseconds, signed with the bundle; None for an OPA that
    is run elsewhere, whose bundle we never see.
    """

    revision: str
    sequence: int | None
    labels: Mapping[str, str]
    time: datetime

    def follow(self, pin: PolicyPin) -> PolicyPin:
        """The pin that comes after `pin`. Raises PolicyRollback."""
        older = self.sequence is not None and self.sequence < pin.sequence
        if self.revision != pin.revision and older:
            raise PolicyRollback(
                f"policy bundle `{self.revision}` is older than one that was active; "
                "build it again to go back to it"
            )
        # The same content built again is newer too: what was built in between is older than it.
        return PolicyPin(revision=self.revision, sequence=max(self.sequence or 0, pin.sequence))

    def drafts(self, pin: PolicyPin) -> list[Draft]:
        """What goes on record where `pin` was the one before: nothing for the policy that is active already."""
        if self.revision == pin.revision:
            return []
        fields = {
            "labels": dict(self.labels),
            "revision": self.revision,
            "sequence": self.sequence,
            "replaces": pin.revision,
        }
        draft = Draft(
            type=RecordType.POLICY_ACTIVATION,
            tenant="",
            once="",
            decision_id="",
            timestamp=self.time,
            fields=fields,
        )
        return [draft]
