"""A world: a folder as an operator sets it up, and the real processes that run from it."""

import contextlib
import json
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Self, TypeVar

import apsw
import grpc
import yaml

from interlock.client import AsyncInterlock, Interlock
from interlock.compose.credentials import create_credential
from interlock.compose.log_reading import read_records
from interlock.compose.settings import load_settings
from interlock.core.identity import CallerKind
from interlock.core.record import RecordType, fields
from interlock.core.tool_listing import listed_digest
from tests import odd_journal
from tests.e2e.processes import Server, run_interlock, wait_until
from tests.waiting import PATIENCE_SECONDS

Client = TypeVar("Client", Interlock, AsyncInterlock)

GATEWAY = "gateway-1"
TENANT = "acme"
ODD_SERVER = Path(__file__).parents[1] / "mcp_servers" / "odd_server.py"

_ODD_TOOLS = {
    "gateway": GATEWAY,
    "server": "odd",
    "tools": [
        {
            "name": name,
            "arguments": {"type": "object", "properties": {"password": {"type": "string"}}},
            "effects": ["read"],
            "sensitive": ["/password"],
            # Its server lists any arguments; the owner of this catalog has said more.
            "listed_digest": listed_digest({"name": name, "inputSchema": {"type": "object"}}),
        }
        for name in ("echo", "fail", "hang", "account")
    ],
}
ROOMY_ROLES = ("tester", "reader", "contributor", "operator")
_PLENTY = 1_000_000
_TESTER = """
tester:
  tools: [echo, fail, hang, account]
  effects: [read]
newcomer:
  tools: [echo, fail, hang, account]
  effects: [read]
"""


class World:
    """Settings, catalog, credentials, a git repository, and the processes.

    Change `settings` before a process starts. Ports are any that are free, and stay the same when a process
    starts again. The role `tester` may call the tools of the server `odd`, which notes each call in `journal`.
    """

    service: Server
    gateway: Server

    def __init__(self, folder: Path, *, opa: Path, policies: Path, git_catalog: Path | None = None) -> None:
        """Without a `git_catalog` there is no server `git` and no repository, which makes it quicker to start."""
        self.folder = folder
        self.repository = folder / "repository"
        self.journal = folder / "journal"
        self.opa = folder / "opa"
        self.opa.symlink_to(opa)
        self.settings = _settings(self.journal)
        self.ca_file: Path | None = None
        self._started: list[Server] = []
        self._open = contextlib.ExitStack()
        shutil.copytree(policies, folder / "policies")
        with (folder / "policies" / "roles" / "data.yaml").open("a") as roles:
            roles.write(_TESTER)
        _make_room(folder / "policies" / "limits" / "data.yaml")
        (folder / "odd.yaml").write_text(json.dumps(_ODD_TOOLS))
        if git_catalog:
            self._add_git(git_catalog)
        self.credential("gateway", GATEWAY, file=folder / "gateway.credential")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        for server in self._started:
            server.kill()

    def start(self) -> Self:
        """Start the service, then a gateway, and wait until both can do their work."""
        self.start_service()
        self.start_gateway()
        return self

    def start_service(self) -> Server:
        """Start the decision service, and wait until it can do its work."""
        self.service = self._start("serve", "service")
        scheme = "https" if "tls" in self.settings["service"] else "http"
        gateway = self.settings["gateway"]
        gateway["decision_service"] = self.service.grpc
        if "jwks_file" not in gateway:
            gateway["jwks_url"] = f"{scheme}://{self.service.http}/.well-known/jwks.json"
        self._until_ready(self.service)
        if hasattr(self, "gateway") and self.gateway.process.poll() is None:
            self.until_heard()
        return self.service

    def start_gateway(self, *way_in: str) -> Server:
        """Start the gateway, with another way in where one is named, and wait until it can do its work."""
        self.gateway = self._start("gateway", "gateway", *way_in)
        self._until_ready(self.gateway)
        return self.gateway

    def use_tls(self, certificate: Path, private_key: Path) -> None:
        """Both processes serve with this certificate, and trust nothing but it."""
        for part in ("service", "gateway"):
            self.settings[part]["tls"] = {"certificate": str(certificate), "private_key": str(private_key)}
        self.settings["gateway"]["decision_service_ca"] = str(certificate)
        self.ca_file = certificate

    def mend(self) -> Self:
        """Start again what has ended."""
        if self.service.process.poll() is not None:
            self.start_service()
        if self.gateway.process.poll() is not None:
            self.start_gateway()
        self.until_heard()
        return self

    def until_heard(self) -> None:
        """Return when the gateway has heard from the service what is frozen now.

        Of three answers from now on the first may have been on its way, and the third was not asked for before the
        second was heard.
        """
        before = self._answers_to_gateway()
        wait_until(lambda: self._answers_to_gateway() >= before + 3)

    def write_settings(self, *, name: str = "interlock.toml", **changes: Any) -> Path:
        """Write the settings with some of them changed, as `{"service": {"listen": ...}}`."""
        path = self.folder / name
        path.write_text(to_toml(merged(self.settings, changes)))
        return path

    def credential(
        self, kind: str, name: str, *roles: str, tenant: str = TENANT, file: Path | None = None
    ) -> str:
        """A new credential, also written to `file` where one is named."""
        settings = load_settings(self.write_settings())
        _, text = create_credential(
            settings, kind=CallerKind(kind), name=name, tenant=tenant, roles=list(roles)
        )
        if file:
            file.touch(mode=0o600)
            file.write_text(text)
        return text

    def agent(self, role: str = "tester", *, name: str = "coder", tenant: str = TENANT) -> Interlock:
        """A client with a new credential of an agent, and the gateway's address where there is one."""
        return self.client(self.credential("agent", name, role, tenant=tenant))

    def auditor(self, *, tenant: str = TENANT) -> Interlock:
        """A client with a new credential of an auditor."""
        return self.client(self.credential("auditor", "auditor", tenant=tenant))

    def client(self, credential: str, **options: Any) -> Interlock:
        """A client, closed with the world."""
        return self._open.enter_context(self._client(Interlock, credential, options))

    def async_client(self, credential: str, **options: Any) -> AsyncInterlock:
        """A client for one event loop, for the caller to close."""
        return self._client(AsyncInterlock, credential, options)

    def channel(self, server: Server | None = None) -> grpc.Channel:
        """A bare channel to the decision service, or to this server; closed with the world."""
        address = (server or self.service).grpc
        return self._open.enter_context(grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]))

    def interlock(self, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a verb of the command line in the world's folder."""
        return run_interlock(*arguments, folder=self.folder, given=given, INTERLOCK_OPA=str(self.opa))

    def records(self, type: RecordType | None = None) -> list[dict[str, Any]]:
        """All records of the decision log, read from its store."""
        settings = load_settings(self.write_settings())
        found = read_records(settings, type=type, decision_id="", tenant="", start=0, limit=None)
        return [fields(record) for record in found]

    def outcomes_of(self, decision_id: str) -> list[str]:
        """The outcomes on record of a decision, in order."""
        found = self.records(RecordType.OUTCOME)
        return [record["outcome"] for record in found if record["decision_id"] == decision_id]

    def runs(self) -> list[str]:
        """The calls that the server `odd` really got."""
        return odd_journal.runs(self.journal)

    def open_store(self) -> apsw.Connection:
        """The decision service's store, from this other process; closed with the world."""
        connection = apsw.Connection(str(self.folder / "service" / "interlock.db"))
        self._open.callback(connection.close)
        return connection

    def _add_git(self, git_catalog: Path) -> None:
        shutil.copyfile(git_catalog, self.folder / "git.yaml")
        make_repository(self.repository)
        for part in ("service", "gateway"):
            self.settings[part]["catalog"] = ["git.yaml", "odd.yaml"]
        self.settings["gateway"]["servers"]["git"] = {
            "command": sys.executable,
            "args": ["-m", "mcp_server_git", "--repository", str(self.repository)],
        }

    def _client(self, kind: type[Client], credential: str, options: Mapping[str, Any]) -> Client:
        stated: dict[str, Any] = {
            "credential": credential,
            "gateway": self.gateway.grpc if hasattr(self, "gateway") else None,
            "ca_file": self.ca_file,
            "timeout": PATIENCE_SECONDS,
        }
        return kind(self.service.grpc, **(stated | dict(options)))

    def _start(self, verb: str, part: str, *options: str) -> Server:
        self.write_settings()
        name = f"{verb}-{len(self._started) + 1}"
        server = Server(verb, self.folder, name, {"INTERLOCK_OPA": str(self.opa)}, *options)
        self._started.append(server)
        self.settings[part] |= {"listen": server.grpc, "http_listen": server.http}
        return server

    def _answers_to_gateway(self) -> int:
        trust = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        address = f"{'https' if trust else 'http'}://{self.service.http}/metrics"
        with urllib.request.urlopen(address, context=trust, timeout=PATIENCE_SECONDS) as answer:
            shown = answer.read().decode()
        found = re.search(
            r'^interlock_call_seconds_count\{code="OK",method="Attend"\} (\S+)$', shown, re.MULTILINE
        )
        return int(float(found[1])) if found else 0

    def _until_ready(self, server: Server) -> None:
        with Interlock(
            server.grpc, credential="none", ca_file=self.ca_file, timeout=PATIENCE_SECONDS
        ) as client:
            client.wait_ready()


def _make_room(limits: Path) -> None:
    """The roles that tests of other things use may repeat themselves and fail; `newcomer` is limited as it ships."""
    stated = yaml.safe_load(limits.read_text())
    stated["overrides"]["roles"] = dict.fromkeys(ROOMY_ROLES, _roomy(stated))
    limits.write_text(yaml.safe_dump(stated))


def _roomy(limits: Mapping[str, Any]) -> dict[str, Any]:
    return {
        topic: {
            group: {name: number if "wait" in name else _PLENTY for name, number in named.items()}
            for group, named in limits[topic].items()
        }
        for topic in ("loops", "retries", "budgets")
    }


def make_repository(path: Path) -> None:
    """A git repository with one commit and one changed file."""
    path.mkdir()
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("config", "user.name", "Interlock tests"),
        ("config", "user.email", "tests@interlock.example"),
    ):
        git(path, *command)
    (path / "README").write_text("first\n")
    git(path, "add", "README")
    git(path, "commit", "--quiet", "--message=Say what this is")
    (path / "README").write_text("second\n")


def git(repository: Path, *arguments: str) -> str:
    """What `git` says."""
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True
    ).stdout


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with `changes`, of which None takes a key away."""
    result = deepcopy(dict(settings))
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def to_toml(settings: Mapping[str, Any]) -> str:
    """The settings as TOML, each on one line."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in settings.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value)  # of strings, numbers and booleans JSON is TOML


def _settings(journal: Path) -> dict[str, Any]:
    anywhere = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", "catalog": ["odd.yaml"]}
    return {
        "environment": "dev",
        "service": {
            **anywhere,
            "data_dir": "service",
            "token_life_seconds": 60,
            "policy": {"directory": "policies"},
        },
        "gateway": {
            **anywhere,
            "data_dir": "gateway",
            "name": GATEWAY,
            "tenant": TENANT,
            "credential_file": "gateway.credential",
            "jwks_url": "http://127.0.0.1:1/",
            "servers": {"odd": {"command": sys.executable, "args": [str(ODD_SERVER), str(journal)]}},
        },
    }
