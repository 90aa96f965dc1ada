"""The policy bundle that ships: built, signed, and verified before it is used (PAP).

A bundle is a gzipped tar of the modules, one `data.json`, OPA's manifest and a signature over all of them.
Schemas and tests are never in it.
"""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from interlock.adapters.opa_binary import OpaRun, run_opa
from interlock.adapters.policy_archive import (
    MANIFEST,
    MAX_BYTES,
    ArchiveError,
    Manifest,
    content_revision,
    unpack,
)
from interlock.adapters.policy_capabilities import write_capabilities
from interlock.adapters.policy_signing_key import (
    SIGNING_ALGORITHM,
    PolicySigningKey,
    PolicySigningKeyError,
    open_signing_key,
)
from interlock.core.approval_answer import ApprovalTerms

__all__ = [
    "SIGNING_ALGORITHM",
    "PolicyBundle",
    "PolicyBundleError",
    "PolicySigningKey",
    "PolicySigningKeyError",
    "build_bundle",
    "open_signing_key",
    "read_bundle",
]

SCHEMAS_FOLDER = "schemas"
MANIFEST_FILE = ".manifest"
DATA_FILES = frozenset({"data.yaml", "data.json"})
"""What `opa build -b` takes for data; other names are left out without a word."""

# Each entry point is in an array of its own, which is empty where it gives nothing.
_PROBE = """[
    [answer | answer := [data.interlock.decision.result, data.interlock.decision.batch]],
    [answer | answer := [data.interlock.approval.result, data.interlock.approval.batch]],
]"""


class PolicyBundleError(ValueError):
    """Policies that cannot be shipped, or a bundle that must not be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """A verified bundle file.

    `revision` is the digest of its content (base64url); `sequence` the time of its build in Unix
    milliseconds, under the signature, so that an older bundle can be told from a newer one (case 11).
    """

    path: Path
    revision: str
    sequence: int


def build_bundle(
    opa: Path, source: Path, output: Path, signing: PolicySigningKey, *, built_at: int | None = None
) -> PolicyBundle:
    """Build the policies in `source` into a signed bundle at `output`, whole or not at all.

    `built_at` is in Unix milliseconds, now by default. Raises PolicyBundleError: the policies do not
    compile, call what they may not, or are not to the contract; OpaError: opa does not run.
    """
    sequence = time.time_ns() // 1_000_000 if built_at is None else built_at
    with tempfile.TemporaryDirectory(prefix="interlock-bundle-") as scratch_name:
        scratch = Path(scratch_name)
        _stage(source, scratch / "tree", sequence)
        # The revision is a digest of what opa writes, so that is written once to be measured.
        draft = _compile(opa, scratch, signing, revision="")
        revision = content_revision(_unpack(draft))
        built = _compile(opa, scratch, signing, revision=revision)
        _verify(opa, built, signing.public)
        _put(built, output)
    return PolicyBundle(path=output, revision=revision, sequence=sequence)


def read_bundle(path: Path, verification_key: Path, opa: Path) -> PolicyBundle:
    """The bundle at `path`, if it is whole, signed, what its revision says, and safe to run.

    `verification_key` is a public key in PEM. Raises PolicyBundleError: it is none of this, or cannot be
    read; OpaError.
    """
    manifest = _verify(opa, _read(path), verification_key)
    return PolicyBundle(path=path, revision=manifest.revision, sequence=manifest.metadata.sequence)


def source_files(source: Path) -> list[Path]:
    """Every file of a policy tree but its schemas, sorted. Raises PolicyBundleError: it is no folder."""
    if not source.is_dir():
        raise PolicyBundleError(f"`{source}` is no folder of policies")
    return sorted(
        path
        for path in source.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.relative_to(source).parts[0] != SCHEMAS_FOLDER
    )


def is_module(path: Path) -> bool:
    """Whether a file of a policy tree is a module that ships; tests do not."""
    return path.suffix == ".rego" and not path.stem.endswith("_test")


def _verify(opa: Path, archive: bytes, verification_key: Path) -> Manifest:
    with tempfile.TemporaryDirectory(prefix="interlock-bundle-") as scratch_name:
        scratch = Path(scratch_name)
        # Every check looks at these very bytes, whatever happens to the file meanwhile.
        (scratch / "bundle.tar.gz").write_bytes(archive)

        # 1. It holds nothing but what we know how to vouch for.
        files = _unpack(archive)
        # 2. The signature covers every file, and every file is there.
        _check_signature(opa, scratch, verification_key)
        # 3. The manifest is ours, and the revision is the digest of the content.
        manifest = _manifest(files[MANIFEST])
        if manifest.revision != (found := content_revision(files)):
            raise PolicyBundleError(
                f"bundle says revision `{manifest.revision}`, but its content is `{found}`; build it anew"
            )
        # 4. It compiles, and calls nothing outside the capabilities.
        _check_capabilities(opa, scratch)
        # 5. The entry points are there, and say no to what they know nothing of.
        _check_contract(opa, scratch)
    return manifest


def _check_signature(opa: Path, scratch: Path, verification_key: Path) -> None:
    # Of opa's commands, `eval`, `check` and `inspect` ignore a signature; `build` and `run` verify it.
    if not verification_key.is_file():
        raise PolicyBundleError(f"verification key `{verification_key}` is no file")
    run = run_opa(
        opa,
        "build",
        "--bundle",
        "bundle.tar.gz",
        f"--verification-key={verification_key.absolute()}",
        f"--signing-alg={SIGNING_ALGORITHM}",
        "--output=verified.tar.gz",
        folder=scratch,
    )
    _require(run, "bundle does not verify")


def _check_capabilities(opa: Path, scratch: Path) -> None:
    capabilities = write_capabilities(opa, scratch)
    run = run_opa(opa, "check", "--bundle", "bundle.tar.gz", f"--capabilities={capabilities}", folder=scratch)
    _require(run, "bundle calls what a policy may not")


def _check_contract(opa: Path, scratch: Path) -> None:
    run = run_opa(
        opa,
        "eval",
        "--bundle=bundle.tar.gz",
        "--stdin-input",
        "--strict-builtin-errors",
        "--format=raw",
        _PROBE,
        folder=scratch,
        given=b'{"batch": [{}]}',
    )
    _require(run, "entry point cannot be evaluated")
    decisions, approvals = json.loads(run.output)
    match decisions:
        case [[{"verdict": "deny"} as one, [{"verdict": "deny"} as other]]] if _to_contract(one, other):
            pass
        case _:
            raise PolicyBundleError(
                "expected `data.interlock.decision` to deny an empty input in `result` and `batch`,"
                " got something else"
            )
    match approvals:
        case [[one, [other]]] if _permits_nothing(one) and _permits_nothing(other):
            return
    raise PolicyBundleError(
        "expected `data.interlock.approval` to give terms in `result` and `batch`, and to permit nobody an answer"
        " of which it knows nothing, got something else"
    )


def _to_contract(*answers: dict[str, Any]) -> bool:
    return all(answer.keys() == {"verdict", "reasons", "obligations", "reservations"} for answer in answers)


def _permits_nothing(answer: object) -> bool:
    try:
        terms = ApprovalTerms.model_validate(answer)
    except ValidationError:
        return False
    return not terms.permitted and not terms.sufficient


def _manifest(content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = "/".join(map(str, first["loc"]))
        raise PolicyBundleError(f"bundle's manifest is not one of ours: `{place}`: {first['msg']}") from error


def _stage(source: Path, tree: Path, sequence: int) -> None:
    """Copy what ships, and nothing else, with the sequence in the manifest."""
    for path in source_files(source):
        if path.is_symlink():
            raise PolicyBundleError(f"`{path}` is a symbolic link; put the file itself there")
        if is_module(path) or path.name in DATA_FILES:
            target = tree / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    manifest = {**_source_manifest(source / MANIFEST_FILE), "metadata": {"sequence": sequence}}
    tree.mkdir(exist_ok=True)
    (tree / MANIFEST_FILE).write_text(json.dumps(manifest))


def _source_manifest(path: Path) -> dict[str, Any]:
    try:
        match json.loads(path.read_bytes()):
            case {"roots": [*_], **rest} as manifest if not rest:
                return dict(manifest)
    except (OSError, ValueError):
        pass
    raise PolicyBundleError(f'`{path}`: expected a JSON object {{"roots": [...]}} and nothing more')


def _compile(opa: Path, scratch: Path, signing: PolicySigningKey, *, revision: str) -> bytes:
    output = scratch / "bundle.tar.gz"
    run = run_opa(
        opa,
        "build",
        "--bundle",
        ".",
        f"--capabilities={write_capabilities(opa, scratch)}",
        f"--revision={revision}",
        f"--signing-key={signing.private.absolute()}",
        f"--signing-alg={SIGNING_ALGORITHM}",
        f"--output={output}",
        folder=scratch / "tree",
    )
    _require(run, "policies do not build")
    return output.read_bytes()


def _put(archive: bytes, output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        draft = output.with_name(f".{output.name}.new")
        draft.write_bytes(archive)
        draft.replace(output)
    except OSError as error:
        raise PolicyBundleError(f"`{output}` cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            archive = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyBundleError(f"bundle `{path}` cannot be read: {error.strerror}") from error
    if len(archive) > MAX_BYTES:
        raise PolicyBundleError(f"bundle `{path}` has more than {MAX_BYTES} bytes")
    return archive


def _unpack(archive: bytes) -> dict[str, bytes]:
    try:
        return unpack(archive)
    except ArchiveError as error:
        raise PolicyBundleError(f"bundle cannot be used: {error}") from error


def _require(run: OpaRun, problem: str) -> None:
    if not run.succeeded:
        raise PolicyBundleError(f"{problem}: {run.errors or run.output.decode('utf-8', 'replace').strip()}")
