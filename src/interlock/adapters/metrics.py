"""Prometheus metrics; every label comes from a closed set (case 44)."""

import functools

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector


class PrometheusMeter:
    """ports.Meter, and what /metrics shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        decisions = Counter("interlock_decisions", "Decisions given", ["verdict"], registry=self.registry)
        errors = Counter(
            "interlock_errors", "Errors given, by ErrorReason", ["reason"], registry=self.registry
        )
        outcomes = Counter(
            "interlock_outcomes", "What came of executions", ["outcome"], registry=self.registry
        )
        announcements = Counter(
            "interlock_announcements",
            "What came of sending to webhooks",
            ["webhook", "outcome"],
            registry=self.registry,
        )
        calls = Histogram(
            "interlock_call_seconds",
            "Time that calls took",
            ["method", "code"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        # The library looks a child up under a lock each time; there are few, so they are kept.
        self._decisions = functools.cache(decisions.labels)
        self._errors = functools.cache(errors.labels)
        self._outcomes = functools.cache(outcomes.labels)
        self._announcements = functools.cache(announcements.labels)
        self._calls = functools.cache(calls.labels)

    def decided(self, verdict: str) -> None:
        """A decision was given."""
        self._decisions(verdict).inc()

    def answered(self, method: str, code: str, seconds: float) -> None:
        """A call ended."""
        self._calls(method, code).observe(seconds)

    def executed(self, outcome: str) -> None:
        """A gateway acted."""
        self._outcomes(outcome).inc()

    def announced(self, webhook: str, outcome: str) -> None:
        """A webhook was sent something, and this came of it. The names of webhooks are those of the settings."""
        self._announcements(webhook, outcome).inc()

    def failed(self, reason: str) -> None:
        """An error was given."""
        self._errors(reason).inc()

    def expose(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
