"""Real OPA sidecars over bundles that are built for a test."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.adapters.opa import OpaEngine
from interlock.adapters.opa_binary import run_opa
from interlock.adapters.opa_sidecar import OpaSidecar, SidecarOptions
from interlock.adapters.policy_bundle import SIGNING_ALGORITHM, open_signing_key
from tests.waiting import PATIENCE_SECONDS

REVISION = "revision-of-a-test"
MANIFEST = '{"roots": ["interlock"]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sidecar that runs, and an engine that asks it."""

    sidecar: OpaSidecar
    engine: OpaEngine
    revision: str


def options_for(opa: Path, bundle: Path, verification_key: Path) -> SidecarOptions:
    return SidecarOptions(
        opa=opa,
        bundle=bundle,
        verification_key=verification_key,
        signing_algorithm=SIGNING_ALGORITHM,
        start_limit_seconds=PATIENCE_SECONDS,
    )


def sign_unchecked(opa: Path, folder: Path, files: Mapping[str, str]) -> SidecarOptions:
    """A bundle of these files, signed, whatever is in it: the service's own build would refuse some."""
    tree, bundle, key = folder / "tree", folder / "bundle.tar.gz", open_signing_key(folder / "keys")
    for name, content in {".manifest": MANIFEST, **files}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    run = run_opa(
        opa,
        "build",
        "--bundle",
        ".",
        f"--revision={REVISION}",
        f"--signing-key={key.private}",
        f"--signing-alg={SIGNING_ALGORITHM}",
        f"--output={bundle}",
        folder=tree,
    )
    assert run.succeeded, run.errors
    return options_for(opa, bundle, key.public)


@contextlib.asynccontextmanager
async def running(
    options: SidecarOptions, revision: str = REVISION, *, limit_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Running]:
    """A sidecar whose expected revision answers. Raises SidecarError."""
    sidecar = OpaSidecar(options)
    try:
        async with OpaEngine(
            sidecar.address, expected_revision=lambda: revision, limit_seconds=limit_seconds
        ) as engine:
            await sidecar.start(engine.ready)
            yield Running(sidecar=sidecar, engine=engine, revision=revision)
    finally:
        await sidecar.stop()
