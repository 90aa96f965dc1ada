"""What is wrong with an installation, and what to do about it."""

import asyncio
import functools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from interlock.adapters.catalog_files import load_catalog
from interlock.adapters.mcp_endpoint import McpEndpoint, McpServerError, RemoteMcpServer
from interlock.adapters.mcp_stdio import program_of
from interlock.adapters.policy_bundle import read_bundle
from interlock.adapters.policy_check import check_policies
from interlock.compose.commands import command_servers
from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.keys import list_keys
from interlock.compose.ledger import look_at_ledger
from interlock.compose.mcp_endpoints import mcp_endpoints
from interlock.compose.opa import locate_opa
from interlock.compose.places import keys_folder
from interlock.compose.settings import (
    DEVELOPMENT,
    ServiceSettings,
    Settings,
    load_settings,
)
from interlock.compose.settings_parts import is_loopback
from interlock.compose.store import look_at_store
from interlock.compose.user_errors import USER_ERRORS
from interlock.compose.webhooks import look_at_webhook
from interlock.core.catalog import Catalog
from interlock.core.identity import split_credential

_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One thing that was looked at. `problem` says what is wrong and what to do, empty when nothing is."""

    subject: str
    found: str
    problem: str = ""


def examine(config: Path) -> Iterator[Examination]:
    """Look at everything that the settings name; nothing is changed or made."""
    try:
        settings = load_settings(config)
    except USER_ERRORS as error:
        yield Examination(subject="settings", found=str(config), problem=str(error))
        return
    yield Examination(subject="settings", found=f"{config}, environment {settings.environment}")
    if settings.service is not None:
        yield from _service(settings, settings.service)
    if settings.gateway is not None:
        yield from _gateway(settings, settings.gateway)


def _service(settings: Settings, service: ServiceSettings) -> Iterator[Examination]:
    yield _listening("decision service", settings, service.listen)
    if not service.policy.opa_url:
        yield _try("opa", lambda: str(locate_opa()))
    yield _try("catalog", lambda: f"{len(load_catalog(service.catalog).tools)} tools")
    yield _try("policies", lambda: _policies(service))
    yield _private("data folder", service.data_dir)
    yield _try("decision log", lambda: look_at_store(service))
    for webhook in service.webhooks:
        yield _try(f"webhook {webhook.name}", functools.partial(look_at_webhook, webhook))
    if (keys_folder(service)).exists():
        yield _try("keys", lambda: ", ".join(f"{key.kid} {key.state}" for key in list_keys(settings)))


def _gateway(settings: Settings, gateway: GatewaySettings) -> Iterator[Examination]:
    yield _listening("gateway", settings, gateway.listen)
    yield _try("gateway credential", lambda: _credential(gateway.credential_file))
    yield _try("gateway catalog", lambda: f"{len(load_catalog(gateway.catalog).tools)} tools")
    yield from _mcp_servers(gateway)
    if gateway.commands:
        yield _try("commands", lambda: _commands(gateway))
    yield _try("ledger", lambda: look_at_ledger(gateway))


def _mcp_servers(gateway: GatewaySettings) -> Iterator[Examination]:
    try:
        endpoints = mcp_endpoints(gateway)
    except USER_ERRORS as error:
        yield Examination(subject="mcp servers", found="", problem=str(error))
        return
    for name, endpoint in endpoints.items():
        yield _mcp_server(name, endpoint)


def _mcp_server(name: str, endpoint: McpEndpoint) -> Examination:
    """Of an address only the host is told: the rest may hold a secret (case 63)."""
    if isinstance(endpoint, RemoteMcpServer):
        return Examination(subject=f"server {name}", found=f"at {urlsplit(endpoint.url).hostname}")
    try:
        return Examination(subject=f"server {name}", found=program_of(endpoint))
    except McpServerError:
        problem = f"`{endpoint.command}` is not found; install it, or give its whole path"
        return Examination(subject=f"server {name}", found=endpoint.command, problem=problem)


def _try(subject: str, look: Callable[[], str]) -> Examination:
    try:
        return Examination(subject=subject, found=look())
    except (*USER_ERRORS, OSError) as error:
        return Examination(subject=subject, found="", problem=str(error))


def _listening(subject: str, settings: Settings, address: str) -> Examination:
    """A development environment that could be taken for production is worth a word (case 62)."""
    reach = "this machine only" if is_loopback(address) else "the network, with TLS"
    stamp = ", tokens for development only" if settings.environment == DEVELOPMENT else ""
    return Examination(subject=subject, found=f"{address}, {reach}{stamp}")


def _policies(service: ServiceSettings) -> str:
    policy = service.policy
    if policy.directory is not None:
        findings = check_policies(locate_opa(), policy.directory)
        if findings:
            raise ValueError(f"{findings[0]}, and {len(findings) - 1} more; see `interlock policy check`")
        return str(policy.directory)
    if policy.bundle is not None and policy.verification_key is not None:
        return f"{policy.bundle}, revision {read_bundle(policy.bundle, policy.verification_key, locate_opa()).revision}"
    return f"{policy.opa_url}, revision {policy.revision}"


def _private(subject: str, folder: Path) -> Examination:
    if not folder.exists():
        return Examination(subject=subject, found=f"{folder}, made at the first start")
    if folder.stat().st_mode & _OPEN_TO_OTHERS:
        return Examination(
            subject=subject,
            found=str(folder),
            problem=f"`{folder}` is open to others; run `chmod 700 {folder}`",
        )
    return Examination(subject=subject, found=str(folder))


def _commands(gateway: GatewaySettings) -> str:
    """Each one's sandbox is made once, with nothing in it, as at the gateway's start."""
    tools = load_catalog(gateway.catalog).tools
    own = {name: tool for name, tool in tools.items() if tool.gateway == gateway.name}
    servers = asyncio.run(command_servers(gateway, Catalog(tools=own)))
    return f"{', '.join(servers)} in a sandbox of bubblewrap"


def _credential(path: Path) -> str:
    if not path.exists():
        raise OSError(f"`{path}` is not there; make it with `interlock credentials create --kind gateway`")
    if path.stat().st_mode & _OPEN_TO_OTHERS:
        raise OSError(f"`{path}` is open to others; run `chmod 600 {path}`")
    if split_credential(path.read_text().strip()) is None:
        raise OSError(f"`{path}` holds no credential; see `interlock credentials create --kind gateway`")
    return str(path) if os.access(path, os.R_OK) else ""
