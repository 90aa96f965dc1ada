"""Bundle files as bytes: what is refused, and what the revision depends on."""

import gzip
import io
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.adapters.policy_archive import MAX_BYTES, ArchiveError, Manifest, content_revision, unpack

WHOLE = {
    "/data.json": b"{}",
    "/decision/decision.rego": b"package interlock.decision\n",
    "/.signatures.json": b"{}",
    "/.manifest": b"{}",
}
names = st.text("ab/", max_size=4).map(lambda text: f"/{text}.rego")
contents = st.dictionaries(names, st.binary(max_size=4), max_size=3)


def tar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A gzipped tar of these members, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_whole_bundle_is_unpacked() -> None:
    """Every file of a bundle is given by its name in it."""
    assert unpack(tar(WHOLE.items())) == WHOLE


@pytest.mark.parametrize("missing", ["/data.json", "/.signatures.json", "/.manifest"])
def test_bundle_that_lacks_a_file_is_refused(missing: str) -> None:
    """A bundle without its manifest, its data or its signature is no bundle (case 11)."""
    with pytest.raises(ArchiveError, match=f"`{missing}` is missing"):
        unpack(tar((name, content) for name, content in WHOLE.items() if name != missing))


@pytest.mark.parametrize(
    "name",
    [
        "/patch.json",
        "/policy.wasm",
        "/roles/data.json",
        "/sub/.signatures.json",
        "/.manifest.pb",
        "/../x.rego",
        "/a/../x.rego",
        "/.rego",
        "x.rego",
        "//x.rego",
        "/a/x.rego\n",
        "/A.rego",
        "/x.rego/",
    ],
)
def test_foreign_file_is_refused(name: str) -> None:
    """Only names that decide something or vouch for it are taken, so that no loader can find more."""
    with pytest.raises(ArchiveError, match=r"does not belong|no regular file"):
        unpack(tar([*WHOLE.items(), (name, b"package x\n")]))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_file_that_is_there_twice_is_refused(name: str) -> None:
    """Two files of one name could be read as two bundles."""
    with pytest.raises(ArchiveError, match="twice"):
        unpack(tar([(name, b"{}"), *WHOLE.items()]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_member_that_is_no_file_is_refused(kind: bytes) -> None:
    """Links and devices are nothing that a signature covers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("/x.rego")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(ArchiveError, match="no regular file"):
        unpack(buffer.getvalue())


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"not gzipped",
        gzip.compress(b"no tar"),
        tar(WHOLE.items())[:-10],
        tar(WHOLE.items()) + b"x",
        tar(WHOLE.items()) * 2,
    ],
    ids=["empty", "not-gzipped", "no-tar", "cut-off", "longer", "twice"],
)
def test_archive_that_is_not_whole_is_refused(archive: bytes) -> None:
    """Bytes that are cut off, or go on after the end, are refused with a reason."""
    with pytest.raises(ArchiveError):
        unpack(archive)


def test_archive_that_unpacks_without_end_is_refused() -> None:
    """A small file that unpacks to a huge one is refused before it is held in memory (case 32)."""
    with pytest.raises(ArchiveError, match="unpacks to more"):
        unpack(gzip.compress(bytes(MAX_BYTES + 1)))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(noise: bytes) -> None:
    """Any bytes end in ArchiveError, and in no other way."""
    with pytest.raises(ArchiveError):
        unpack(gzip.compress(noise))


@given(contents, contents)
def test_revision_is_of_the_content_alone(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Two contents have one revision when they are the same, and only then."""
    assert (content_revision(one) == content_revision(other)) == (one == other)


@given(contents)
def test_revision_depends_on_no_order(content: dict[str, bytes]) -> None:
    """The order of the files in the archive is nothing that decides."""
    assert content_revision(dict(reversed(content.items()))) == content_revision(content)


@given(st.binary(), st.binary())
def test_revision_leaves_out_what_vouches_for_it(manifest: bytes, signatures: bytes) -> None:
    """The manifest, which holds the revision, and the signature over it are not in the revision."""
    vouched = {**WHOLE, "/.manifest": manifest, "/.signatures.json": signatures}
    assert content_revision(vouched) == content_revision(WHOLE)


def test_revision_is_stable() -> None:
    """The definition of a revision does not change by accident: decisions of years ago name it."""
    assert content_revision(WHOLE) == "ypLx9ZFAd9YO8flRYDSGXfsFq7DV3khM_3OtFRv25kM"


@pytest.mark.parametrize(
    "manifest",
    [
        '{"revision":"r","roots":["a"],"rego_version":1}',
        '{"revision":"r","roots":["a"],"rego_version":1,"metadata":{}}',
        '{"revision":"r","roots":["a"],"rego_version":1,"metadata":{"sequence":"1"}}',
        '{"revision":"r","roots":["a"],"rego_version":1,"metadata":{"sequence":0}}',
        '{"revision":"r","roots":["a"],"rego_version":1,"metadata":{"sequence":1.5}}',
        '{"revision":"r","roots":["a"],"rego_version":0,"metadata":{"sequence":1}}',
        '{"revision":"r","roots":[],"rego_version":1,"metadata":{"sequence":1}}',
        '{"revision":"r","roots":["a"],"rego_version":1,"metadata":{"sequence":1},"wasm":[]}',
        '{"revision":1,"roots":["a"],"rego_version":1,"metadata":{"sequence":1}}',
    ],
)
def test_manifest_is_exactly_ours(manifest: str) -> None:
    """A manifest that lacks the sequence, or says more than ours does, is refused (case 11)."""
    with pytest.raises(ValidationError):
        Manifest.model_validate_json(manifest)
