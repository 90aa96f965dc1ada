"""What the gateway is measured in: a decision service, a gateway in front of one plain MCP server, and an agent."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from credentials import agent, gateway, give_credentials
from mcp.client.stdio import StdioServerParameters
from policy_copies import for_one_agent
from servers import PROJECT, Place, Server, free_port, running, running_service

PLAIN_SERVER = PROJECT / "bench" / "plain_mcp_server.py"
ROLE = "caller"
TENANT = "acme"
GATEWAY = "gateway-1"

_SETTINGS = """\
environment = "dev"

[service]
listen = "127.0.0.1:{service}"
http_listen = "127.0.0.1:{service_http}"
data_dir = "service"
catalog = ["catalog.yaml"]

[service.policy]
directory = {policies}

[gateway]
name = "gateway-1"
tenant = "acme"
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
data_dir = "gateway"
decision_service = "127.0.0.1:{service}"
credential_file = "gateway.credential"
jwks_url = "http://127.0.0.1:{service_http}/.well-known/jwks.json"
catalog = ["catalog.yaml"]

[gateway.mcp]
listen = "127.0.0.1:{front}"
credential_file = "agent.credential"

[gateway.servers.plain]
command = {python}
args = [{server}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlace:
    """A place with a gateway's settings. `front` is the URL of its MCP server, `agent` the agent's credential."""

    place: Place
    front: str
    agent: str

    def direct(self) -> StdioServerParameters:
        """The MCP server itself, for a client to start."""
        return StdioServerParameters(command=sys.executable, args=[str(PLAIN_SERVER)])

    def through_gateway(self) -> StdioServerParameters:
        """The gateway in its place, for the same client to start."""
        arguments = ["-m", "interlock", "gateway", "mcp", "--config", str(self.place.settings)]
        return StdioServerParameters(command=sys.executable, args=arguments, cwd=self.place.folder)


def make_gateway_place(folder: Path, opa: Path) -> GatewayPlace:
    """Settings, policies, catalog and credentials, in a new folder."""
    folder.mkdir(parents=True)
    policies = for_one_agent(folder, ROLE, tools=["echo"], effects=["read"])
    ports = {name: free_port() for name in ("service", "service_http", "front")}
    place = Place(folder=folder, opa=opa)
    stated = {"python": sys.executable, "server": str(PLAIN_SERVER), "policies": str(policies)}
    place.settings.write_text(
        _SETTINGS.format(**ports, **{name: json.dumps(text) for name, text in stated.items()})
    )
    place.interlock("catalog", "import", "plain", "--output", "catalog.yaml")
    _call_it_reading(folder / "catalog.yaml")
    texts = give_credentials(place.settings, [gateway(TENANT, GATEWAY), agent(TENANT, "agent", ROLE)])
    for name, text in zip(("gateway", "agent"), texts, strict=True):
        file = folder / f"{name}.credential"
        file.touch(mode=0o600)
        file.write_text(text)
    return GatewayPlace(place=place, front=f"http://127.0.0.1:{ports['front']}/mcp", agent=texts[1])


@contextlib.contextmanager
def serving(made: GatewayPlace) -> Iterator[Server]:
    """The decision service of the place."""
    with running_service(made.place) as service:
        yield service


@contextlib.contextmanager
def serving_front(made: GatewayPlace) -> Iterator[int]:
    """The gateway as an MCP server over HTTP; its process id."""
    command = [sys.executable, "-m", "interlock", "gateway", "mcp", "--http"]
    with running(command, made.place, "front") as process:
        yield process.pid


def _call_it_reading(catalog: Path) -> None:
    """The server says nothing of effects, so that the import takes the worst; we know that it only answers."""
    stated = yaml.safe_load(catalog.read_text())
    for tool in stated["tools"]:
        tool["effects"] = ["read"]
        tool["results"] = "trusted"
    catalog.write_text(yaml.safe_dump(stated))
