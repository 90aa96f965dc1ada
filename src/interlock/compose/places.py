"""Where the processes keep what they keep, below their `data_dir`."""

from pathlib import Path

from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.settings import ServiceSettings, Settings, SettingsError


def service_of(settings: Settings) -> ServiceSettings:
    """The decision service's settings. Raises SettingsError where there are none."""
    if settings.service is None:
        raise SettingsError("there is no `[service]`, so there is no decision service here")
    return settings.service


def gateway_of(settings: Settings) -> GatewaySettings:
    """The gateway's settings. Raises SettingsError where there are none."""
    if settings.gateway is None:
        raise SettingsError("there is no `[gateway]`, so there is no gateway here")
    return settings.gateway


def store_file(service: ServiceSettings) -> Path:
    """The decision service's store."""
    return service.data_dir / "interlock.db"


def keys_folder(service: ServiceSettings) -> Path:
    """The keys that sign execution tokens, and those of keyed digests."""
    return service.data_dir / "keys"


def policy_folder(service: ServiceSettings) -> Path:
    """The bundle that is built at start, and the key that signs it."""
    return service.data_dir / "policy"


def ledger_file(gateway: GatewaySettings) -> Path:
    """The gateway's ledger."""
    return gateway.data_dir / "ledger.db"
