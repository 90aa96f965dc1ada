"""The policy that decides: its bundle built or checked, and the OPA that runs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from interlock.adapters.opa import OpaAddress, OpaEngine
from interlock.adapters.opa_sidecar import OpaSidecar, SidecarOptions
from interlock.adapters.policy_bundle import (
    SIGNING_ALGORITHM,
    PolicyBundle,
    build_bundle,
    open_signing_key,
    read_bundle,
)
from interlock.compose.places import policy_folder
from interlock.compose.settings import PolicySettings, ServiceSettings, SettingsError

BUNDLE_FILE = "bundle.tar.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPolicy:
    """The engine and the one revision that may answer. `sequence` is None for an OPA that is run elsewhere."""

    engine: OpaEngine
    revision: str
    sequence: int | None


@contextlib.asynccontextmanager
async def run_policy(service: ServiceSettings, opa: Path | None) -> AsyncIterator[RunningPolicy]:
    """A policy engine that is ready, until the end of the block. Raises PolicyBundleError, SidecarError."""
    policy = service.policy
    if policy.opa_url:
        async with _engine(_elsewhere(policy), policy.revision, policy) as engine:
            yield RunningPolicy(engine=engine, revision=policy.revision, sequence=None)
        return
    if opa is None:
        raise SettingsError("an `opa` is needed to run the policies")
    bundle, verification_key = await asyncio.to_thread(_prepare_bundle, service, opa)
    options = SidecarOptions(
        opa=opa, bundle=bundle.path, verification_key=verification_key, signing_algorithm=SIGNING_ALGORITHM
    )
    sidecar = OpaSidecar(options)
    try:
        async with _engine(sidecar.address, bundle.revision, policy) as engine:
            await sidecar.start(engine.ready)
            yield RunningPolicy(engine=engine, revision=bundle.revision, sequence=bundle.sequence)
    finally:
        await sidecar.stop()


def _prepare_bundle(service: ServiceSettings, opa: Path) -> tuple[PolicyBundle, Path]:
    """A signed bundle, and the public key that it verifies with."""
    policy = service.policy
    if policy.directory is not None:
        folder = policy_folder(service)
        key = open_signing_key(folder)
        return build_bundle(opa, policy.directory, folder / BUNDLE_FILE, key), key.public
    if policy.bundle is None or policy.verification_key is None:
        raise SettingsError("`policy` names no source")
    return read_bundle(policy.bundle, policy.verification_key, opa), policy.verification_key


def _engine(address: OpaAddress, revision: str, policy: PolicySettings) -> OpaEngine:
    return OpaEngine(
        address, expected_revision=lambda: revision, limit_seconds=policy.evaluation_limit_seconds
    )


def _elsewhere(policy: PolicySettings) -> OpaAddress:
    try:
        token = policy.opa_token_file.read_text().strip() if policy.opa_token_file else ""
        return OpaAddress(url=policy.opa_url, bearer_token=token)
    except OSError as error:
        raise SettingsError(f"`policy.opa_token_file` cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"`policy.opa_url` and `policy.opa_token_file`: {error}") from error
