"""Bundles, built and verified by the real OPA."""

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from interlock.adapters.opa_binary import run_opa
from interlock.adapters.policy_archive import content_revision, unpack
from interlock.adapters.policy_bundle import (
    SIGNING_ALGORITHM,
    PolicyBundle,
    PolicyBundleError,
    PolicySigningKey,
    build_bundle,
    open_signing_key,
    read_bundle,
)
from interlock.adapters.policy_capabilities import EXCLUDED_BUILTINS

BUILT_AT = 1_767_605_400_123

ENTRY_POINT = """package interlock.decision

result := {"verdict": "deny", "reasons": set(), "obligations": set(), "reservations": set()}

batch := [result | some _ in input.batch]
"""

APPROVAL = """package interlock.approval

result := {
	"priority": 0,
	"expire_seconds": 60,
	"use_seconds": 60,
	"most_pending": {"agent": 1, "tenant": 1, "agent_an_hour": 1},
	"roles": [],
	"quorum": 1,
	"permitted": false,
	"sufficient": false,
	"reasons": [{"code": "approvals.nobody", "message": "Nobody may", "metadata": {}}],
}

batch := [result | some _ in input.batch]
"""

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> PolicySigningKey:
    """The key pair that signs."""
    return open_signing_key(tmp_path_factory.mktemp("signing") / "key")


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, opa: Path, policies: Path, signing: PolicySigningKey
) -> PolicyBundle:
    """The policies that ship, built."""
    output = tmp_path_factory.mktemp("built") / "bundle.tar.gz"
    return build_bundle(opa, policies, output, signing, built_at=BUILT_AT)


@pytest.fixture
def tree(tmp_path: Path, policies: Path) -> Path:
    """A copy of the policies that ship, to change."""
    return Path(shutil.copytree(policies, tmp_path / "tree"))


def pack(files: Mapping[str, bytes], path: Path) -> Path:
    """Write a bundle file with these files in it."""
    with tarfile.open(path, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def sign(opa: Path, tree: Path, signing: PolicySigningKey, revision: str | None = None) -> Path:
    """Sign any policies at all, as the holder of the key could without our checks."""
    output = tree.parent / "signed.tar.gz"

    def build(said: str) -> Files:
        flags = (
            f"--revision={said}",
            f"--signing-key={signing.private}",
            f"--signing-alg={SIGNING_ALGORITHM}",
        )
        run = run_opa(opa, "build", "--bundle", ".", f"--output={output}", *flags, folder=tree)
        assert run.succeeded, run.errors
        return unpack(output.read_bytes())

    build(content_revision(build("")) if revision is None else revision)
    return output


def entry_point_tree(
    root: Path, entry_point: str = ENTRY_POINT, manifest: str = "", approval: str = APPROVAL
) -> Path:
    """A policy tree with nothing but the entry points."""
    tree = root / "tree"
    for name, module in (("decision", entry_point), ("approval", approval)):
        (tree / name).mkdir(parents=True)
        (tree / name / f"{name}.rego").write_text(module)
    (tree / ".manifest").write_text(manifest or '{"roots": ["interlock"], "metadata": {"sequence": 1}}')
    return tree


def test_bundle_that_was_built_is_read(opa: Path, built: PolicyBundle, signing: PolicySigningKey) -> None:
    """A reader with the public key finds what the builder promised."""
    assert read_bundle(built.path, signing.public, opa) == built


def test_revision_is_the_digest_of_the_content(built: PolicyBundle) -> None:
    """The revision in the manifest is recomputed from modules and data."""
    files = unpack(built.path.read_bytes())
    assert content_revision(files) == built.revision == json.loads(files["/.manifest"])["revision"]


def test_sequence_is_the_time_of_the_build(built: PolicyBundle) -> None:
    """The manifest carries the Unix milliseconds of the build (case 11)."""
    manifest = json.loads(unpack(built.path.read_bytes())["/.manifest"])
    assert manifest["metadata"] == {"sequence": BUILT_AT}
    assert built.sequence == BUILT_AT


def test_sequence_is_now_unless_said(
    opa: Path, policies: Path, tmp_path: Path, signing: PolicySigningKey
) -> None:
    """Without a time the builder takes the clock's, so that the newest build has the highest sequence."""
    before = time.time_ns() // 1_000_000
    bundle = build_bundle(opa, policies, tmp_path / "b.tar.gz", signing)
    assert bundle.sequence >= before


def test_same_content_has_the_same_revision(
    opa: Path, tree: Path, tmp_path: Path, built: PolicyBundle
) -> None:
    """Neither time, nor place, nor key of a build changes the revision (invariant 7)."""
    other_key = open_signing_key(tmp_path / "other")
    again = build_bundle(opa, tree, tmp_path / "again.tar.gz", other_key, built_at=BUILT_AT + 1)
    assert again.revision == built.revision
    assert again.sequence > built.sequence


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("limits/data.yaml", "seconds: 30", "seconds: 31"),
        ("rules/effects/effects.rego", "# title: Reading is granted", "# title: Reading is fine"),
    ],
)
def test_other_content_has_another_revision(
    opa: Path, tree: Path, signing: PolicySigningKey, built: PolicyBundle, file: str, old: str, new: str
) -> None:
    """Data and the text of a reason decide too, and so change the revision."""
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new))
    assert build_bundle(opa, tree, tree.parent / "b.tar.gz", signing).revision != built.revision


def test_schemas_tests_and_misnamed_data_never_ship(
    opa: Path, tree: Path, signing: PolicySigningKey, built: PolicyBundle
) -> None:
    """What is in the bundle is modules and data files, whatever else lies in the tree."""
    modules = {f"/{path.relative_to(tree)}" for path in tree.rglob("*.rego")}
    (tree / "decision" / "decision_test.rego").write_text("package interlock.decision_test\n")
    (tree / "schemas" / "data.json").write_text("{}")
    (tree / "roles" / "more.yaml").write_text("admin: {}")
    (tree / "README.md").write_text("read me")
    bundle = build_bundle(opa, tree, tree.parent / "b.tar.gz", signing)
    assert bundle.revision == built.revision
    shipped = unpack(bundle.path.read_bytes()).keys()
    assert shipped == {"/.manifest", "/.signatures.json", "/data.json", *modules}
    assert {"/approval/approval.rego", "/rules/loops/loops.rego"} < shipped
    assert json.loads(unpack(bundle.path.read_bytes())["/data.json"]).keys() == {
        "approvers",
        "limits",
        "roles",
    }


def test_failed_build_leaves_the_old_bundle(
    opa: Path, tree: Path, signing: PolicySigningKey, built: PolicyBundle
) -> None:
    """A bundle is put in place whole or not at all."""
    output = tree.parent / "b.tar.gz"
    shutil.copy(built.path, output)
    (tree / "roles" / "roles.rego").write_text("package interlock.roles\n\nbroken :=\n")
    with pytest.raises(PolicyBundleError, match=r"(?s)policies do not build: .*roles/roles\.rego:4"):
        build_bundle(opa, tree, output, signing)
    assert output.read_bytes() == built.path.read_bytes()
    assert {path.name for path in tree.parent.iterdir()} == {"b.tar.gz", "tree"}


@pytest.mark.parametrize("name", sorted(EXCLUDED_BUILTINS))
def test_excluded_builtin_does_not_build(opa: Path, tree: Path, signing: PolicySigningKey, name: str) -> None:
    """A policy that reaches out, asks the clock or rolls dice is never built (case 13, invariant 7)."""
    (tree / "rules" / "reach").mkdir()
    (tree / "rules" / "reach" / "reach.rego").write_text(_calling(opa, name))
    with pytest.raises(PolicyBundleError, match=f"undefined function {name}"):
        build_bundle(opa, tree, tree.parent / "b.tar.gz", signing)


def test_policies_without_an_entry_point_do_not_build(
    opa: Path, tree: Path, signing: PolicySigningKey
) -> None:
    """A bundle without `data.interlock.decision` answers nothing, and is refused at the build (case 3)."""
    shutil.rmtree(tree / "decision")
    with pytest.raises(PolicyBundleError, match=r"expected `data\.interlock\.decision` to deny"):
        build_bundle(opa, tree, tree.parent / "b.tar.gz", signing)


def test_package_outside_the_roots_does_not_build(opa: Path, tree: Path, signing: PolicySigningKey) -> None:
    """The manifest's roots say what the bundle owns, and nothing else gets in."""
    (tree / "system.rego").write_text("package system.authz\n\nallow := true\n")
    with pytest.raises(PolicyBundleError, match="manifest roots"):
        build_bundle(opa, tree, tree.parent / "b.tar.gz", signing)


def test_symbolic_link_does_not_build(opa: Path, tree: Path, signing: PolicySigningKey) -> None:
    """A file that lies elsewhere can change without a change here."""
    (tree / "roles" / "data.yaml").rename(tree.parent / "elsewhere.yaml")
    (tree / "roles" / "data.yaml").symlink_to(tree.parent / "elsewhere.yaml")
    with pytest.raises(PolicyBundleError, match="symbolic link"):
        build_bundle(opa, tree, tree.parent / "b.tar.gz", signing)


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"roots": ["a"], "metadata": {"sequence": 9}}'])
def test_manifest_of_the_source_holds_roots_alone(
    opa: Path, tree: Path, signing: PolicySigningKey, manifest: str | None
) -> None:
    """Nobody sets revision or sequence by hand."""
    (tree / ".manifest").unlink()
    if manifest is not None:
        (tree / ".manifest").write_text(manifest)
    with pytest.raises(PolicyBundleError, match="expected a JSON object"):
        build_bundle(opa, tree, tree.parent / "b.tar.gz", signing)


def test_source_that_is_no_folder_is_told(opa: Path, tmp_path: Path, signing: PolicySigningKey) -> None:
    """A wrong path is an error that names it."""
    with pytest.raises(PolicyBundleError, match=r"none` is no folder of policies"):
        build_bundle(opa, tmp_path / "none", tmp_path / "b.tar.gz", signing)


def _replace(file: str, old: bytes, new: bytes) -> Callable[[Files], Files]:
    def tamper(files: Files) -> Files:
        assert old in files[file]
        return {**files, file: files[file].replace(old, new)}

    return tamper


def _without(file: str) -> Callable[[Files], Files]:
    return lambda files: {name: content for name, content in files.items() if name != file}


def _with(file: str, content: bytes) -> Callable[[Files], Files]:
    return lambda files: {**files, file: content}


TAMPERED: dict[str, Callable[[Files], Files]] = {
    "module": _replace("/decision/decision.rego", b"count(_deny) > 0", b"count(_deny) > 9"),
    "comment": _replace("/decision/decision.rego", b"title: Result", b"title: Answer"),
    "data": _replace("/data.json", b'"seconds":30', b'"seconds":31'),
    "revision": _replace("/.manifest", b'"revision":"', b'"revision":"x'),
    "sequence": _replace("/.manifest", b'"sequence":1', b'"sequence":2'),
    "roots": _replace("/.manifest", b'"limits",', b""),
    "module removed": _without("/rules/permissions/permissions.rego"),
    "module added": _with("/rules/more/more.rego", b"package interlock.rules.more\n"),
    "data removed": _without("/data.json"),
    "manifest removed": _without("/.manifest"),
    "signature removed": _without("/.signatures.json"),
    "signature empty": _with("/.signatures.json", b"{}"),
    "no signatures": _with("/.signatures.json", b'{"signatures": []}'),
    "signature by another plugin": _replace("/.signatures.json", b"_default", b"none"),
    "delta bundle": lambda _: {"/patch.json": b'{"data": []}', "/.manifest": b"{}"},
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampered_bundle_is_refused(
    opa: Path, built: PolicyBundle, signing: PolicySigningKey, tmp_path: Path, how: str
) -> None:
    """Whatever is changed, added or taken away after signing is found (case 11)."""
    tampered = pack(TAMPERED[how](unpack(built.path.read_bytes())), tmp_path / "tampered.tar.gz")
    with pytest.raises(PolicyBundleError):
        read_bundle(tampered, signing.public, opa)


def test_tampering_is_found_by_the_signature(
    opa: Path, built: PolicyBundle, signing: PolicySigningKey, tmp_path: Path
) -> None:
    """A tamperer who makes revision and content agree again is found by the signature alone (case 11)."""
    files = TAMPERED["data"](unpack(built.path.read_bytes()))
    manifest = json.loads(files["/.manifest"]) | {"revision": content_revision(files)}
    forged = pack({**files, "/.manifest": json.dumps(manifest).encode()}, tmp_path / "forged.tar.gz")
    with pytest.raises(PolicyBundleError, match=r"does not verify: .*digest mismatch"):
        read_bundle(forged, signing.public, opa)


def test_unsigned_bundle_is_refused(
    opa: Path, built: PolicyBundle, signing: PolicySigningKey, tmp_path: Path
) -> None:
    """A bundle without a signature is refused, though OPA would take it without a key (case 11)."""
    unsigned = pack(TAMPERED["signature removed"](unpack(built.path.read_bytes())), tmp_path / "b.tar.gz")
    with pytest.raises(PolicyBundleError, match=r"`/\.signatures\.json` is missing"):
        read_bundle(unsigned, signing.public, opa)


def test_other_key_is_refused(opa: Path, built: PolicyBundle, tmp_path: Path) -> None:
    """A bundle that another key signed is refused (case 11)."""
    other = open_signing_key(tmp_path / "other")
    with pytest.raises(PolicyBundleError, match=r"does not verify: .*failed to verify JWT signature"):
        read_bundle(built.path, other.public, opa)


def test_missing_verification_key_is_refused(opa: Path, built: PolicyBundle, tmp_path: Path) -> None:
    """OPA takes a path that leads nowhere for the key itself, so that is refused before it is asked."""
    with pytest.raises(PolicyBundleError, match="is no file"):
        read_bundle(built.path, tmp_path / "none.pem", opa)


def test_empty_verification_key_is_refused(opa: Path, built: PolicyBundle, tmp_path: Path) -> None:
    """A key file that holds no key verifies nothing."""
    (tmp_path / "empty.pem").touch()
    with pytest.raises(PolicyBundleError, match="does not verify"):
        read_bundle(built.path, tmp_path / "empty.pem", opa)


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_file_that_is_no_bundle_is_refused(
    opa: Path, signing: PolicySigningKey, tmp_path: Path, content: bytes | None
) -> None:
    """A missing or foreign file is an error that says so."""
    path = tmp_path / "b.tar.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PolicyBundleError, match=r"cannot be read|cannot be used"):
        read_bundle(path, signing.public, opa)


def test_signed_bundle_by_hand_is_read(opa: Path, signing: PolicySigningKey, tmp_path: Path) -> None:
    """The bundles by hand of the tests below differ from this good one in one thing each."""
    assert read_bundle(sign(opa, entry_point_tree(tmp_path), signing), signing.public, opa).sequence == 1


def test_signed_bundle_with_a_wrong_revision_is_refused(
    opa: Path, signing: PolicySigningKey, tmp_path: Path
) -> None:
    """A good signature does not make up for a revision that is not the digest of the content."""
    signed = sign(opa, entry_point_tree(tmp_path), signing, revision="v2")
    with pytest.raises(PolicyBundleError, match="says revision `v2`"):
        read_bundle(signed, signing.public, opa)


def test_signed_bundle_without_a_sequence_is_refused(
    opa: Path, signing: PolicySigningKey, tmp_path: Path
) -> None:
    """Without a sequence nobody can tell an old bundle from a new one (case 11)."""
    signed = sign(opa, entry_point_tree(tmp_path, manifest='{"roots": ["interlock"]}'), signing)
    with pytest.raises(PolicyBundleError, match="`metadata`: Field required"):
        read_bundle(signed, signing.public, opa)


def test_signed_bundle_that_reaches_out_is_refused(
    opa: Path, signing: PolicySigningKey, tmp_path: Path
) -> None:
    """A bundle that was built without the capabilities is checked against them before use (case 13)."""
    tree = entry_point_tree(tmp_path, ENTRY_POINT + '\n_reach := http.send({"method": "get", "url": "x"})\n')
    with pytest.raises(PolicyBundleError, match=r"may not: .*undefined function http\.send"):
        read_bundle(sign(opa, tree, signing), signing.public, opa)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("package interlock.decision", "package interlock.other"),
        ('"deny"', '"allow"'),
        ('"deny"', '"no"'),
        (', "reservations": set()', ""),
        ("batch := [", "bunch := ["),
        ("some _ in input.batch", "false"),
        ('"reasons": set()', '"reasons": input.reasons'),
        ('"reasons": set()', '"reasons": 1 / 0'),
    ],
)
def test_signed_bundle_out_of_contract_is_refused(
    opa: Path, signing: PolicySigningKey, tmp_path: Path, old: str, new: str
) -> None:
    """A bundle whose entry point is missing, undefined, malformed or permissive is refused (cases 3, 4, 9)."""
    assert old in ENTRY_POINT
    signed = sign(opa, entry_point_tree(tmp_path, ENTRY_POINT.replace(old, new, 1)), signing)
    with pytest.raises(PolicyBundleError, match=r"entry point cannot be evaluated|to deny an empty input"):
        read_bundle(signed, signing.public, opa)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("package interlock.approval", "package interlock.approvals"),
        ('"permitted": false', '"permitted": true'),
        ('"sufficient": false', '"sufficient": true'),
        ('"permitted": false', '"permitted": null'),
        ('"quorum": 1,', ""),
        ('"quorum": 1', '"quorum": 0'),
        ('"priority": 0', '"priority": 101'),
        ('"priority": 0', '"priority": input.proposal.priority'),
        ('[{"code": "approvals.nobody", "message": "Nobody may", "metadata": {}}]', "[]"),
        ("batch := [", "bunch := ["),
        ("some _ in input.batch", "false"),
    ],
)
def test_signed_bundle_that_lets_anybody_approve_is_refused(
    opa: Path, signing: PolicySigningKey, tmp_path: Path, old: str, new: str
) -> None:
    """A bundle whose second entry point is missing, undefined, malformed or permissive is refused (case 50)."""
    assert old in APPROVAL
    tree = entry_point_tree(tmp_path, approval=APPROVAL.replace(old, new, 1))
    with pytest.raises(PolicyBundleError, match=r"expected `data\.interlock\.approval` to give terms"):
        read_bundle(sign(opa, tree, signing), signing.public, opa)


def _calling(opa: Path, name: str) -> str:
    """A module that calls a builtin with arguments that are well typed, but for what they hold."""
    builtins = json.loads(run_opa(opa, "capabilities", "--current").output)["builtins"]
    declared = next(builtin["decl"] for builtin in builtins if builtin["name"] == name)
    arguments = ", ".join("input.arguments.x" for _ in declared.get("args", []))
    return f"package interlock.rules.reach\n\n_reached := {name}({arguments})\n"
