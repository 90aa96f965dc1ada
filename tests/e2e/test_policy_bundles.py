"""Policies that must not decide: the service refuses to start, and says what is wrong."""

import io
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from interlock.adapters.policy_bundle import build_bundle, open_signing_key
from interlock.core.record import RecordType
from tests.e2e.world import World

SIGNATURES = "/.signatures.json"
LIMITS = "limits/data.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """Two bundles of one key: the second is newer, and has other limits."""

    older: Path
    newer: Path
    verification_key: Path


@pytest.fixture(scope="module")
def bundles(opa: Path, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Two signed bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    key = open_signing_key(folder / "key")
    source = folder / "policies"
    shutil.copytree(policies, source)
    build_bundle(opa, source, folder / "older.tar.gz", key, built_at=1_000)
    (source / LIMITS).write_text((source / LIMITS).read_text().replace("  seconds: 30", "  seconds: 7"))
    build_bundle(opa, source, folder / "newer.tar.gz", key, built_at=2_000)
    return Bundles(older=folder / "older.tar.gz", newer=folder / "newer.tar.gz", verification_key=key.public)


def decide_with(world: World, bundle: Path, verification_key: Path) -> None:
    """Let the service run a bundle."""
    world.settings["service"]["policy"] = {"bundle": str(bundle), "verification_key": str(verification_key)}
    world.write_settings()


def refusal(world: World) -> str:
    """What `serve` says when it refuses to start."""
    done = world.interlock("serve")
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def rewritten(bundle: Path, change: Callable[[str, bytes], bytes | None], output: Path) -> Path:
    """The bundle with the content of its files changed; a file whose new content is None is left out."""
    with tarfile.open(bundle) as source, tarfile.open(output, "w:gz") as target:
        for member in source.getmembers():
            file = source.extractfile(member)
            content = change(member.name, file.read() if file else b"")
            if content is not None:
                member.size = len(content)
                target.addfile(member, io.BytesIO(content))
    return output


def test_a_tampered_bundle_is_refused(own_world: World, bundles: Bundles) -> None:
    """A rule that was edited after the signing never decides (case 11)."""

    def edit(name: str, content: bytes) -> bytes:
        return content.replace(b'"deny"', b'"allow"') if name.endswith("decision.rego") else content

    tampered = rewritten(bundles.newer, edit, own_world.folder / "tampered.tar.gz")
    decide_with(own_world, tampered, bundles.verification_key)
    assert "bundle does not verify" in refusal(own_world)
    assert own_world.records() == []


def test_an_unsigned_bundle_is_refused(own_world: World, bundles: Bundles) -> None:
    """A bundle without its signature is refused, though its content is good (case 11)."""
    unsigned = rewritten(
        bundles.newer,
        lambda name, content: None if name.endswith(SIGNATURES) else content,
        own_world.folder / "unsigned.tar.gz",
    )
    decide_with(own_world, unsigned, bundles.verification_key)
    assert "bundle" in refusal(own_world)


def test_a_bundle_of_another_key_is_refused(own_world: World, bundles: Bundles) -> None:
    """A bundle that somebody else signed is refused (case 11)."""
    other = open_signing_key(own_world.folder / "other-key")
    decide_with(own_world, bundles.newer, other.public)
    assert "bundle does not verify" in refusal(own_world)


def test_an_older_bundle_is_refused(own_world: World, bundles: Bundles) -> None:
    """No policy rolls back to one that was replaced, though it is signed (case 11)."""
    decide_with(own_world, bundles.newer, bundles.verification_key)
    assert own_world.start_service().end() == 0
    decide_with(own_world, bundles.older, bundles.verification_key)
    assert "is older than one that was active" in refusal(own_world)
    assert len(own_world.records(RecordType.POLICY_ACTIVATION)) == 1


def test_a_policy_that_calls_the_network_is_refused(own_world: World) -> None:
    """A rule that calls `http.send` is not built, so it can neither leak an input nor hang (case 13)."""
    rule = own_world.folder / "policies" / "rules" / "leak" / "leak.rego"
    rule.parent.mkdir()
    rule.write_text(
        'package interlock.rules.leak\n\ndeny contains "leak" if http.send({"method": "get", "url": "http://a"})\n'
    )
    said = refusal(own_world)
    assert "policies do not build" in said
    assert "http.send" in said
