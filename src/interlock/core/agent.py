"""What is kept of an agent over all of its sessions."""

from datetime import timedelta

from interlock.core.attempts import Attempts
from interlock.core.call_history import CallHistory

CALLS_SECONDS = 3_600
"""Calls of the last hour count as of sessions that go on at the same time."""

KEPT = timedelta(seconds=CALLS_SECONDS)


class Agent:
    """An agent's cell: the calls that its sessions proposed in the last hour, and how its attempts went."""

    __slots__ = ("attempts", "history")

    def __init__(self) -> None:
        self.attempts = Attempts()
        self.history = CallHistory()

    @classmethod
    def decode(cls, data: bytes) -> "Agent":
        """What `encode` wrote; an agent that did nothing, of empty bytes."""
        agent = cls()
        if data:
            agent.attempts = Attempts.decode(data[: Attempts.SIZE])
            agent.history = CallHistory.decode(data[Attempts.SIZE :])
        return agent

    def encode(self) -> bytes:
        """Attempts, then history."""
        return self.attempts.encode() + self.history.encode()
