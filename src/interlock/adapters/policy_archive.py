"""The bundle file as bytes: what may be in it, and the digest of what decides."""

import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from interlock.core.canonical import digest

MAX_BYTES = 16 * 1024 * 1024
"""Of the bundle file, and of all that it unpacks to."""

MANIFEST = "/.manifest"
SIGNATURES = "/.signatures.json"
DATA = "/data.json"
_MODULE = re.compile(r"(/[a-z][a-z0-9_]*)+\.rego")


class ArchiveError(ValueError):
    """A bundle file that is not what `build_bundle` writes."""


class ManifestMetadata(BaseModel):
    """What we add to OPA's manifest. `sequence` is the time of the build, in Unix milliseconds."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sequence: Annotated[int, Field(gt=0, le=2**53 - 1)]


class Manifest(BaseModel):
    """The bundle's manifest. The signature covers it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    revision: str
    roots: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    rego_version: Annotated[int, Field(ge=1, le=1)]
    metadata: ManifestMetadata


def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of a bundle by their names in it.

    Only names that decide something or vouch for it are taken, each once, so that no other reader can find
    in the same bytes another bundle. Raises ArchiveError.
    """
    files: dict[str, bytes] = {}
    for name, content in _members(archive):
        if name in files:
            raise ArchiveError(f"file `{name}` is in it twice")
        if name not in {MANIFEST, SIGNATURES, DATA} and not _MODULE.fullmatch(name):
            raise ArchiveError(f"file `{name}` does not belong in it")
        files[name] = content
    for required in (MANIFEST, SIGNATURES, DATA):
        if required not in files:
            raise ArchiveError(f"file `{required}` is missing")
    return files


def content_revision(files: Mapping[str, bytes]) -> str:
    """SHA-256, base64url, over what decides: modules and data, each name and content after its length.

    Neither the manifest, which holds the revision, nor the signature is in it; nor is what only tar keeps.
    """
    deciding = sorted(set(files) - {MANIFEST, SIGNATURES})
    parts = [part for name in deciding for part in (name.encode(), files[name])]
    return digest(b"".join(len(part).to_bytes(8, "big") + part for part in parts))


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflate(archive)), mode="r:") as tar:
            for member in tar:
                if not member.isreg():
                    raise ArchiveError(f"`{member.name}` is no regular file")
                file = tar.extractfile(member)
                assert file is not None  # a regular file always has content
                yield member.name, file.read()
    except (tarfile.TarError, UnicodeError, EOFError) as error:
        raise ArchiveError("it is no tar archive") from error


def _inflate(archive: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        data = inflater.decompress(archive, MAX_BYTES + 1)
    except zlib.error as error:
        raise ArchiveError("it is not gzipped") from error
    if len(data) > MAX_BYTES:
        raise ArchiveError(f"it unpacks to more than {MAX_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ArchiveError("it is cut off, or something follows its end")
    return data
