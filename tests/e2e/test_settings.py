"""Mistakes in settings: the processes refuse to start, and `interlock doctor` tells what to do."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.client import InterlockCallError
from interlock.compose.doctor import examine
from tests.contract.certificates import a_certificate_of
from tests.e2e.processes import Server, run_interlock
from tests.e2e.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with the settings or the environment, and what must be said of it."""

    says: str
    changes: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    verb: str = "serve"


TLS = {"certificate": "certificate.pem", "private_key": "key.pem"}
WEBHOOK = {"name": "on-call", "url": "https://alerts.example/hook"}
MISTAKES = {
    "an unknown key": Mistake(changes={"service": {"lisen": "127.0.0.1:1"}}, says="`service.lisen`"),
    "an unknown section": Mistake(changes={"playground": {"on": True}}, says="`playground`"),
    "an unknown variable": Mistake(variables={"INTERLOCK_LISTEN": "x"}, says="`INTERLOCK_LISTEN`"),
    "an unknown key in a variable": Mistake(
        variables={"INTERLOCK_SERVICE__LISEN": "127.0.0.1:1"}, says="`service.lisen`"
    ),
    "the network without TLS": Mistake(
        changes={"service": {"listen": "0.0.0.0:0"}}, says="without `tls`, only a loopback address"
    ),
    "metrics on the network without TLS": Mistake(
        changes={"service": {"http_listen": "0.0.0.0:0"}}, says="without `tls`, only a loopback address"
    ),
    "dev on the network": Mistake(
        changes={"service": {"listen": "0.0.0.0:0", "tls": TLS}},
        says="the environment `dev` only listens on loopback addresses",
    ),
    "MCP on the network without TLS": Mistake(
        changes={"gateway": {"mcp": {"listen": "0.0.0.0:0"}}}, says="`gateway.mcp.listen`"
    ),
    "forward on the network without TLS": Mistake(
        changes={"gateway": {"forward": {"listen": "0.0.0.0:0"}}}, says="`gateway.forward.listen`"
    ),
    "a webhook without its secret": Mistake(
        changes={"service": {"webhooks": [{**WEBHOOK, "secret_file": "gone.secret"}]}},
        says="the secret of a webhook cannot be read",
    ),
    "no environment": Mistake(changes={"environment": None}, says="`environment`"),
    "no policy": Mistake(changes={"service": {"policy": {"directory": None}}}, says="set exactly one of"),
    "a token that lives too long": Mistake(
        changes={"service": {"token_life_seconds": 61}}, says="`service.token_life_seconds`"
    ),
    "a gateway without a name": Mistake(
        changes={"gateway": {"name": None}}, says="`gateway.name`", verb="gateway"
    ),
    "a gateway without keys": Mistake(
        changes={"gateway": {"jwks_url": ""}}, says="`jwks_url` and `jwks_file`", verb="gateway"
    ),
    "no credential file": Mistake(
        changes={"gateway": {"credential_file": "missing"}}, says="missing", verb="gateway"
    ),
}


STARTED = (
    "an unknown key",
    "an unknown variable",
    "the network without TLS",
    "a gateway without a name",
    "no credential file",
)
"""Those that a process is started with; all go through the same door."""


@pytest.mark.parametrize("name", STARTED)
def test_a_mistake_keeps_the_process_from_starting(own_world: World, name: str) -> None:
    """Unsafe or unknown settings end the process at once, with what to mend and no traceback (case 62)."""
    mistake = MISTAKES[name]
    own_world.write_settings(**mistake.changes)
    variables = {"INTERLOCK_OPA": str(own_world.opa), **mistake.variables}
    done = run_interlock(mistake.verb, folder=own_world.folder, **variables)
    assert done.returncode == 1
    assert mistake.says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_doctor_finds_a_mistake(own_world: World, mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `interlock doctor` looks at has each mistake among its problems (case 62)."""
    a_certificate_of("127.0.0.1", own_world.folder)
    config = own_world.write_settings(**mistake.changes)
    monkeypatch.setenv("INTERLOCK_OPA", str(own_world.opa))
    for name, value in mistake.variables.items():
        monkeypatch.setenv(name, value)
    problems = [found.problem for found in examine(config) if found.problem]
    assert any(mistake.says in problem for problem in problems), problems


def test_doctor_finds_nothing_wrong_with_a_good_world(world: World) -> None:
    """`interlock doctor` ends with status 0 where everything is as it should be, beside running processes (case 62)."""
    done = world.interlock("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout


def test_doctor_says_what_is_wrong(own_world: World) -> None:
    """`interlock doctor` names each trouble with its remedy, and ends with status 1 (case 62)."""
    (own_world.folder / "gateway.credential").chmod(0o644)
    (own_world.folder / "service").chmod(0o755)
    (own_world.folder / "odd.yaml").unlink()
    done = own_world.interlock("doctor")
    assert done.returncode == 1
    for remedy in ("chmod 600", "chmod 700", "odd.yaml` cannot be read"):
        assert remedy in done.stdout


def test_a_token_of_dev_is_nothing_in_prod(world: World, tmp_path: Path) -> None:
    """A gateway of another environment refuses the token, with the same name, keys and tenant (cases 38 and 62)."""
    world.write_settings(
        name="prod.toml",
        environment="prod",
        gateway={"data_dir": str(tmp_path), "listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"},
    )
    prod = Server("gateway", world.folder, "prod-gateway", {"INTERLOCK_CONFIG": "prod.toml"})
    try:
        agent = world.agent()
        decision = agent.decide("echo", {})
        with pytest.raises(InterlockCallError) as caught:
            world.client("none", gateway=prod.grpc).execute(decision, "echo", {})
        assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "TOKEN_NOT_FOR_THIS_GATEWAY")
        assert decision.token_expire_time
        assert decision.token_expire_time > datetime.now(UTC)
        assert agent.execute(decision, "echo", {}).outcome == "succeeded"
    finally:
        prod.kill()
