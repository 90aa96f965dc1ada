"""Settings: one TOML file and the environment; an unknown key is refused, and so is an unsafe combination.

The environment overrides the file: `INTERLOCK_SERVICE__LISTEN` is `listen` of `[service]`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from interlock.compose.gateway_settings import GatewaySettings
from interlock.compose.postgres_settings import check_password, checked_url
from interlock.compose.settings_parts import Address, Closed, Identifier, Seconds, Tls, is_loopback
from interlock.compose.webhook_settings import Webhooks, check_names

PREFIX = "INTERLOCK_"
DEVELOPMENT = "dev"
# Read elsewhere: the OPA to use, the file of settings, and what the command line's client needs.
_NOT_SETTINGS = {"OPA", "CONFIG", "CREDENTIAL", "ADDRESS", "GATEWAY_ADDRESS"}


class SettingsError(ValueError):
    """Settings that cannot be used; the message names each setting and what to do."""


class PolicySettings(Closed):
    """What decides: policies built from `directory` at start, or a signed `bundle`; run by our own OPA or another.

    `opa_url` names an OPA that runs elsewhere and must serve exactly `revision`; `opa_token_file` holds the
    bearer token that it wants.
    """

    directory: Path | None = None
    bundle: Path | None = None
    verification_key: Path | None = None
    opa_url: str = ""
    opa_token_file: Path | None = None
    revision: str = ""
    evaluation_limit_seconds: Seconds = 1.0

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(map(bool, (self.directory, self.bundle, self.opa_url))) != 1:
            raise ValueError("set exactly one of `directory`, `bundle` and `opa_url`")
        if self.bundle and not self.verification_key:
            raise ValueError("`bundle` needs `verification_key`, the public key that it is signed with")
        if self.opa_url and not self.revision:
            raise ValueError("`opa_url` needs `revision`, the one that it must serve")
        if self.opa_url and not self.opa_url.startswith("https://") and not _is_local_url(self.opa_url):
            raise ValueError(
                "`opa_url` must be https, or http to a loopback address: inputs and verdicts cross it"
            )
        return self


class ServiceSettings(Closed):
    """The decision service. Sizes are counts of proposals; times are in seconds."""

    listen: Address = "127.0.0.1:7410"
    http_listen: Address = "127.0.0.1:7411"
    tls: Tls | None = None
    data_dir: Path = Path(".interlock/service")
    store: Annotated[str, Field(repr=False)] = ""
    store_password_file: Path | None = None
    issuer: Annotated[str, Field(min_length=1, max_length=256)] = "interlock"
    catalog: Annotated[tuple[Path, ...], Field(min_length=1)]
    policy: PolicySettings
    token_life_seconds: Annotated[int, Field(ge=1, le=60)] = 30
    default_deadline_seconds: Seconds = 5.0
    longest_deadline_seconds: Seconds = 30.0
    log_limit_seconds: Seconds = 2.0
    session_idle_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 3_600
    session_retention_days: Annotated[int, Field(ge=1, le=3_650)] = 7
    drain_seconds: Seconds = 10.0
    batch: Annotated[int, Field(ge=1, le=1024)] = 64
    batches_in_flight: Annotated[int, Field(ge=1, le=16)] = 2
    waiting: Annotated[int, Field(ge=1, le=1_000_000)] = 8_192
    webhooks: Webhooks = ()

    @model_validator(mode="after")
    def _capped(self) -> Self:
        if self.default_deadline_seconds > self.longest_deadline_seconds:
            raise ValueError("`default_deadline_seconds` must be at most `longest_deadline_seconds`")
        if self.session_idle_seconds > self.session_retention_days * 86_400:
            raise ValueError("`session_idle_seconds` must be at most `session_retention_days`")
        return self

    @field_validator("store")
    @classmethod
    def _safe_store(cls, url: str) -> str:
        return checked_url(url, crossing="records and credentials' hashes")

    @field_validator("webhooks")
    @classmethod
    def _named_webhooks(cls, webhooks: Webhooks) -> Webhooks:
        return check_names(webhooks)

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        check_password("store", self.store, self.store_password_file)
        return self


class Settings(BaseSettings):
    """The whole file. `environment` is stamped on every token, and a gateway takes only its own."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )
    file: ClassVar[Path | None] = None

    environment: Identifier
    service: ServiceSettings | None = None
    gateway: GatewaySettings | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the command line says, then the environment, then the file; nothing else."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=cls.file))

    @model_validator(mode="after")
    def _safe_addresses(self) -> Self:
        for name, part in (("service", self.service), ("gateway", self.gateway)):
            for key in ("listen", "http_listen") if part else ():
                self._check_address(
                    f"{name}.{key}", getattr(part, key), has_tls=part is not None and part.tls is not None
                )
        if self.gateway:
            for name, address in (
                ("gateway.mcp.listen", self.gateway.mcp.listen),
                ("gateway.forward.listen", self.gateway.forward.listen),
            ):
                self._check_address(name, address, has_tls=self.gateway.tls is not None)
        return self

    def _check_address(self, name: str, address: str, *, has_tls: bool) -> None:
        if is_loopback(address):
            return
        if not has_tls:
            raise ValueError(
                f"`{name}` is `{address}`: without `tls`, only a loopback address such as 127.0.0.1 is allowed"
            )
        if self.environment == DEVELOPMENT:
            raise ValueError(
                f"`{name}` is `{address}`: the environment `{DEVELOPMENT}` only listens on loopback addresses"
            )


def load_settings(file: Path | None, *, store: str = "") -> Settings:
    """Read the settings; relative paths in the file are relative to it. Raises SettingsError.

    `store` is taken for the service's, where it is not empty.
    """
    if file is not None and not file.is_file():
        raise SettingsError(f"there is no file `{file}`; docs/settings.md shows one")
    _refuse_unknown(os.environ)
    reader = type("SettingsOfFile", (Settings,), {"file": file, "__annotations__": {}})
    try:
        settings = reader(**({"service": {"store": store}} if store else {}))
    except (ValidationError, ValueError) as error:
        raise SettingsError(_explain(error, file)) from error
    return _anchored(settings, file.parent if file else Path())


def _is_local_url(url: str) -> bool:
    return is_loopback(f"{urlsplit(url).hostname or ''}:0")


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for variable in environ:
        if variable.upper().startswith(PREFIX):
            name = variable.upper().removeprefix(PREFIX).partition("__")[0]
            if name not in _NOT_SETTINGS and name.lower() not in Settings.model_fields:
                raise SettingsError(
                    f"the environment variable `{variable}` is no setting; see docs/settings.md"
                )


def _explain(error: Exception, file: Path | None) -> str:
    where = f"`{file}`" if file else "the environment"
    if not isinstance(error, ValidationError):
        return f"{where} cannot be read: {error}"
    lines = [f"settings of {where} cannot be used:"]
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(map(str, problem["loc"])) or "settings"
        lines.append(f"  `{name}`: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def _anchored(settings: Settings, folder: Path) -> Settings:
    """The settings with every relative path taken from the file's folder, not from where the command runs."""
    return settings.model_copy(
        update={"service": _anchor(settings.service, folder), "gateway": _anchor(settings.gateway, folder)}
    )


def _anchor(value: Any, folder: Path) -> Any:
    match value:
        case Path():
            return (folder / value).resolve()
        case BaseModel():
            return value.model_copy(
                update={name: _anchor(getattr(value, name), folder) for name in type(value).model_fields}
            )
        case tuple():
            return tuple(_anchor(item, folder) for item in value)
        case dict():
            return {name: _anchor(item, folder) for name, item in value.items()}
        case _:
            return value
