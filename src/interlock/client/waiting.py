"""How a client waits for an approval: in calls that the service holds open, one after the other."""

import time
from collections.abc import Callable

from interlock.client.retry import Attempts
from interlock.client.values import Decision, Verdict
from interlock.v1.decision_service_pb2 import WaitDecisionRequest

LONGEST_CALL_SECONDS = 20.0
"""Of one call: less than what services, proxies and load balancers let a call last."""

LEAST_CALL_SECONDS = 0.1
PAUSE_SECONDS = 0.5
"""Between the beginnings of two calls, where a service that is about to end answers at once."""


class Wait:
    """One wait for what a decision comes to."""

    def __init__(
        self, decision: Decision | str, attempts: Attempts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._attempts = attempts
        self._begun = clock()
        self.request = WaitDecisionRequest(
            decision_id=decision if isinstance(decision, str) else decision.decision_id
        )

    def pause_after(self, told: Decision) -> float | None:
        """Seconds until the next call; None where it is decided, or the time is over."""
        pause = max(0.0, self._begun + PAUSE_SECONDS - self._clock())
        if not is_pending(told) or self._attempts.remaining() - pause < LEAST_CALL_SECONDS:
            return None
        self._begun = self._clock() + pause
        self.request = WaitDecisionRequest(decision_id=told.decision_id)
        return pause


def is_pending(decision: Decision) -> bool:
    """Whether people may yet make another decision of it."""
    return decision.verdict is Verdict.ESCALATE and bool(decision.approval_id)
