"""interlock up and serve: run the processes."""

import asyncio
import sys
from typing import TYPE_CHECKING

import uvloop

from interlock.cli.options import DEFAULT_CONFIG, Config, Store, settings_of
from interlock.cli.output import fail, print_line
from interlock.compose.service_log import configure_logging

if TYPE_CHECKING:
    from interlock.compose.process import Addresses, Serving


def serve(config: Config = DEFAULT_CONFIG, store: Store = "") -> None:
    """Run the decision service, with its OPA, until SIGTERM or Ctrl-C; what was taken by then is answered."""
    from interlock.compose.decision_plane import serve_decisions  # noqa: PLC0415 - the gateway must not load it
    from interlock.compose.opa import locate_opa  # noqa: PLC0415

    configure_logging()
    settings = settings_of(config, store=store)
    elsewhere = settings.service is not None and settings.service.policy.opa_url
    opa = None if elsewhere else locate_opa()
    uvloop.run(serve_decisions(settings, opa, announce_of("decision service")))


def up(config: Config = DEFAULT_CONFIG, store: Store = "") -> None:
    """Run the decision service and a gateway together on this machine, until Ctrl-C or until one of them ends."""
    from interlock.compose import together  # noqa: PLC0415 - it loads what serving needs

    settings = settings_of(config, store=store)
    if settings.service is None or settings.gateway is None:
        fail("`up` needs `[service]` and `[gateway]` in the settings; run `serve` or `gateway` alone instead")
    sys.exit(asyncio.run(together.run_both(config, settings.service)))


def announce_of(what: str) -> "Serving":
    """Prints where a process listens, for people and for scripts that wait for it."""

    def announce(addresses: "Addresses") -> None:
        print_line(f"{what}: gRPC on {addresses.grpc}, HTTP on {addresses.http}")
        sys.stdout.flush()

    return announce
