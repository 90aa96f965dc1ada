"""Whether the service can do its work: grpc.health.v1 for each service, and /readyz over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

logger = structlog.get_logger()

Check = Callable[[], Awaitable[bool]]

INTERVAL_SECONDS = 1.0
CHECK_LIMIT_SECONDS = 5.0


class Health:
    """Asks every check once a second; all services serve, or none does."""

    def __init__(self, services: Sequence[str], checks: Mapping[str, Check]) -> None:
        """`services` are full names of gRPC services; `checks` are named for /readyz."""
        self.servicer = health_aio.HealthServicer()
        self._services = ("", *services)
        self._checks = checks
        self.results: dict[str, bool] = dict.fromkeys(checks, False)

    @property
    def ready(self) -> bool:
        """Whether every check passed when last asked."""
        return all(self.results.values())

    async def watch(self) -> None:
        """Keep asking until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def ask(self) -> None:
        """Ask every check once and tell the result."""
        before = self.ready
        for name, check in self._checks.items():
            self.results[name] = await _passes(check)
        if self.ready != before:
            logger.warning("readiness_changed", ready=self.ready, checks=self.results)
        await self._tell()

    async def stop_serving(self) -> None:
        """Tell clients to go elsewhere, for good."""
        await self.servicer.enter_graceful_shutdown()

    async def _tell(self) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if self.ready
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in self._services:
            await self.servicer.set(service, status)


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_LIMIT_SECONDS):
            return await check()
    except Exception:  # noqa: BLE001 - a check that breaks has not passed
        return False
