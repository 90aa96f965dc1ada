"""Settings of an execution gateway: `[gateway]` and what is within."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from interlock.compose.postgres_settings import check_password, checked_url
from interlock.compose.settings_parts import Address, Closed, Identifier, Seconds, Tls

Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(ip_network)]


class McpServerSettings(Closed):
    """An MCP server, that the gateway runs or that is elsewhere.

    The one has a command line, and the only environment that it gets; the other a `url`, and the `headers` that it
    is sent.
    """

    command: str = ""
    args: tuple[str, ...] = ()
    env: Annotated[dict[str, str], Field(repr=False, default_factory=dict)]
    cwd: Path | None = None
    url: str = ""
    headers: Annotated[dict[str, str], Field(repr=False, default_factory=dict)]

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("set exactly one of `command` and `url`")
        if self.url and (self.args or self.env or self.cwd):
            raise ValueError("`args`, `env` and `cwd` are for a server with a `command`")
        if self.command and self.headers:
            raise ValueError("`headers` are for a server with a `url`")
        return self


class HttpServerSettings(Closed):
    """A web service whose tools are in the catalog.

    `authorization_file` holds the value of the `Authorization` header that its calls carry. `networks` are addresses
    (CIDR) that may be reached although they are not public. `redirects` are how many may be followed, on the host
    that was decided only.
    """

    authorization_file: Path | None = None
    ca: Path | None = None
    networks: tuple[Network, ...] = ()
    redirects: Annotated[int, Field(ge=0, le=10)] = 0


class CommandServerSettings(Closed):
    """Commands whose argv the catalog has. `env` is all that they get of variables, beside `PATH`."""

    env: Annotated[dict[str, str], Field(repr=False, default_factory=dict)]


class McpFrontSettings(Closed):
    """The gateway as an MCP server. `credential_file` holds the agent's own, for a client over stdio.

    Over HTTP each connection brings its own; `hosts` and `origins` are the values of those headers that are taken
    beside the loopback ones. `client_requests` are what servers may ask of the client.
    """

    listen: Address = "127.0.0.1:7422"
    credential_file: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    escalation_wait_seconds: Annotated[float, Field(ge=0, le=3_600)] = 60.0
    client_requests: tuple[Literal["sampling", "elicitation", "roots"], ...] = ()


class HttpForwardSettings(Closed):
    """The gateway as a web server in front of web services."""

    listen: Address = "127.0.0.1:7423"


WayIn = Literal["mcp", "http"]
"""A way in beside gRPC: MCP over streamable HTTP, and the HTTP forward."""


class GatewaySettings(Closed):
    """An execution gateway. `name` is the audience of its tokens, and `credential_file` holds its credential.

    The decision service's public keys come from `jwks_url` or `jwks_file`. `decision_service_ca` is the CA
    certificate (PEM) that its own are checked with, at `decision_service` and at `jwks_url`.
    """

    name: Identifier
    tenant: Identifier
    listen: Address = "127.0.0.1:7420"
    http_listen: Address = "127.0.0.1:7421"
    ways_in: tuple[WayIn, ...] = ()
    tls: Tls | None = None
    data_dir: Path = Path(".interlock/gateway")
    issuer: Annotated[str, Field(min_length=1, max_length=256)] = "interlock"
    decision_service: Address = "127.0.0.1:7410"
    decision_service_ca: Path | None = None
    credential_file: Path
    jwks_url: str = ""
    jwks_file: Path | None = None
    catalog: Annotated[tuple[Path, ...], Field(min_length=1)]
    servers: dict[Identifier, McpServerSettings] = Field(default_factory=dict)
    mcp_servers: Path | None = None
    http: dict[Identifier, HttpServerSettings] = Field(default_factory=dict)
    commands: dict[Identifier, CommandServerSettings] = Field(default_factory=dict)
    mcp: McpFrontSettings = McpFrontSettings()
    forward: HttpForwardSettings = HttpForwardSettings()
    ledger: Annotated[str, Field(repr=False)] = ""
    ledger_password_file: Path | None = None
    leeway_seconds: Annotated[float, Field(ge=0, le=60)] = 5.0
    ledger_limit_seconds: Seconds = 2.0
    longest_execution_seconds: Seconds = 300.0
    drain_seconds: Seconds = 10.0

    @field_validator("ledger")
    @classmethod
    def _safe_ledger(cls, url: str) -> str:
        return checked_url(url, crossing="results of tools")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        check_password("ledger", self.ledger, self.ledger_password_file)
        return self

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if bool(self.jwks_url) == bool(self.jwks_file):
            raise ValueError("set exactly one of `jwks_url` and `jwks_file`")
        return self

    @model_validator(mode="after")
    def _one_server_of_a_name(self) -> Self:
        for name in self.servers.keys() | self.http.keys() | self.commands.keys():
            if (name in self.servers) + (name in self.http) + (name in self.commands) > 1:
                raise ValueError(
                    f"`{name}` is in more than one of `servers`, `http` and `commands`; rename one"
                )
        return self
