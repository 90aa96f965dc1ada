"""How services are reached: in clear only on this machine, and with a credential that can be one."""

from pathlib import Path

import grpc
import pytest

from interlock.client import AsyncInterlock, Interlock
from interlock.client.connection import bearer, target, trust

CREDENTIAL = "ilk_0123456789abcdef_" + "s" * 43

LOOPBACK = ["127.0.0.1:7410", "localhost:7410", "[::1]:7410", "127.8.9.10:1"]
ELSEWHERE = [
    "10.0.0.1:7410",
    "interlock.example:7410",
    "0.0.0.0:7410",
    "[::]:7410",
    "[fe80::1]:7410",
    "[::ffff:10.0.0.1]:7410",
    "localhost.example:7410",
    "127.0.0.1.example:7410",
    "127.1:7410",
    "2130706433:7410",
    "127.0.0.1",
    "127.0.0.1:7410,10.0.0.1:7410",
    "ipv4:127.0.0.1:7410,10.0.0.1:7410",
    "dns://10.0.0.1/localhost:7410",
    "dns:///127.0.0.1:7410",
    "127.0.0.1:7410\n",
    "user@127.0.0.1:7410",
    "",
]


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_allowed_in_clear(address: str) -> None:
    """What only this machine can reach needs no TLS."""
    assert target(address, None).credentials is None


@pytest.mark.parametrize("address", ELSEWHERE)
def test_in_clear_elsewhere_is_refused(address: str) -> None:
    """A credential or a token never crosses a network in clear: any other address needs a `ca_file`."""
    with pytest.raises(ValueError, match="ca_file"):
        target(address, None)


@pytest.mark.parametrize("client", [Interlock, AsyncInterlock])
@pytest.mark.parametrize("addresses", [("10.0.0.1:7410", None), ("127.0.0.1:7410", "10.0.0.1:7420")])
def test_both_addresses_are_checked(
    client: type[Interlock] | type[AsyncInterlock], addresses: tuple[str, str | None]
) -> None:
    """Neither the decision service nor the gateway is reached in clear over a network."""
    address, gateway = addresses
    with pytest.raises(ValueError, match=r"10\.0\.0\.1"):
        client(address, gateway=gateway, credential=CREDENTIAL)


def test_no_proxy_in_clear() -> None:
    """In clear, a proxy that the environment names is not used; behind TLS it may be."""
    without = ("grpc.enable_http_proxy", 0)
    assert without in target("127.0.0.1:7410", None).options
    assert without not in target("interlock.example:7410", grpc.ssl_channel_credentials()).options


@pytest.mark.parametrize("text", [b"", b"no certificate", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_file_without_certificates_is_refused(tmp_path: Path, text: bytes) -> None:
    """A `ca_file` that trusts nobody is told at once, not at the first call."""
    file = tmp_path / "ca.pem"
    file.write_bytes(text)
    with pytest.raises(ValueError, match="no certificate"):
        trust(file)


def test_a_missing_ca_file_is_told(tmp_path: Path) -> None:
    """A `ca_file` that is not there never falls back to no TLS."""
    with pytest.raises(FileNotFoundError):
        Interlock(credential=CREDENTIAL, ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize(
    "credential", ["", CREDENTIAL + "\n", f" {CREDENTIAL}", "se cret", "sécret", "a\x00b"]
)
def test_what_cannot_be_a_credential_is_refused_unseen(credential: str) -> None:
    """A credential with a line break behind it is refused before it is sent, and is not in the error."""
    with pytest.raises(ValueError, match="credential") as caught:
        bearer(credential)
    assert CREDENTIAL not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1.0, float("inf"), float("nan")])
def test_every_call_has_a_deadline(timeout: float) -> None:
    """No client is made that would wait for ever, or not at all."""
    with pytest.raises(ValueError, match="timeout"):
        Interlock(credential=CREDENTIAL, timeout=timeout)


def test_each_client_has_a_session_of_its_own() -> None:
    """A session_id is new unless given, and fits the form that the service asks for."""
    first, second = Interlock(credential=CREDENTIAL), Interlock(credential=CREDENTIAL)
    assert first.session_id != second.session_id
    assert Interlock(credential=CREDENTIAL, session_id="mine").session_id == "mine"


def test_a_client_shows_no_credential() -> None:
    """The credential is in no text that a client makes of itself."""
    client = Interlock(credential=CREDENTIAL)
    assert CREDENTIAL not in repr(client) + str(client)
