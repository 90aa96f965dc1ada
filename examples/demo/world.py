"""What the demo runs in: a scratch repository, settings, a catalog from the real MCP server, and credentials."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
TENANT = "acme"
TOKEN_LIFE_SECONDS = 5

SETTINGS = """\
environment = "dev"

[service]
listen = "{service}"
http_listen = "{service_http}"
data_dir = "service"
catalog = ["catalog/git.yaml"]
token_life_seconds = {token_life} # short, so that the demo can show a token that expired

[service.policy]
directory = {policies}

[gateway]
name = "git-gateway"
tenant = "acme"
listen = "{gateway}"
http_listen = "{gateway_http}"
data_dir = "gateway"
decision_service = "{service}"
credential_file = "gateway.credential"
jwks_url = "http://{service_http}/.well-known/jwks.json"
catalog = ["catalog/git.yaml"]
leeway_seconds = 1
ways_in = ["mcp"] # beside gRPC

[gateway.mcp]
listen = "{front}"
escalation_wait_seconds = 30 # so long a call waits for a person

[gateway.servers.git]
command = {git_server}
args = ["--repository", {repository}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where everything is. Addresses are `host:port`; `agent` and `operator` are credentials, `approver` a file."""

    folder: Path
    config: Path
    repository: Path
    service: str
    service_http: str
    gateway: str
    gateway_http: str
    front: str
    agent: str = field(repr=False)
    operator: str = field(repr=False)
    approver: Path


def make_world(folder: Path, ports: tuple[int, ...]) -> World:
    """A new world in `folder`; what an earlier demo left there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "catalog").mkdir(parents=True)
    service, service_http, gateway, gateway_http, front = (f"127.0.0.1:{port}" for port in ports)
    repository = make_repository(folder / "repository")
    config = folder / "interlock.toml"
    config.write_text(
        SETTINGS.format(
            token_life=TOKEN_LIFE_SECONDS,
            service=service,
            service_http=service_http,
            gateway=gateway,
            gateway_http=gateway_http,
            front=front,
            policies=json.dumps(str(PROJECT / "policies")),
            git_server=json.dumps(str(Path(sys.executable).parent / "mcp-server-git")),
            repository=json.dumps(str(repository)),
        )
    )
    interlock(config, "catalog", "import", "git", "--output", str(folder / "catalog" / "git.yaml"))
    credential(config, folder, "gateway", "git-gateway")
    credential(config, folder, "auditor", "auditor")
    operator = credential(config, folder, "operator", "operator")
    credential(config, folder, "approver", "alice", "--role", "approver")
    agent = credential(config, folder, "agent", "coder", "--role", "contributor")
    return World(
        folder=folder,
        config=config,
        repository=repository,
        service=service,
        service_http=service_http,
        gateway=gateway,
        gateway_http=gateway_http,
        front=front,
        agent=agent,
        operator=operator,
        approver=folder / "approver.credential",
    )


def make_repository(folder: Path) -> Path:
    """A repository with one commit, a change that is not staged, and one that is."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "greeting.txt").write_text("hello\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Greet")
    (folder / "greeting.txt").write_text("hello, world\n")
    (folder / "farewell.txt").write_text("goodbye, world\n")
    git(folder, "add", "farewell.txt")
    return folder


def git(folder: Path, *arguments: str) -> None:
    """Run git in `folder`, under a name of the demo's own."""
    author = ("-c", "user.name=demo", "-c", "user.email=demo@example.invalid")
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True)


def credential(config: Path, folder: Path, kind: str, name: str, *more: str) -> str:
    """A new credential, also kept in `KIND.credential` in the folder."""
    output = folder / f"{kind}.credential"
    given = ("--kind", kind, "--name", name, "--tenant", TENANT, "--output", str(output))
    interlock(config, "credentials", "create", *given, *more)
    return output.read_text().strip()


def interlock(config: Path, *arguments: str) -> None:
    """Run a verb of the command."""
    command = [sys.executable, "-m", "interlock", *arguments, "--config", str(config)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
