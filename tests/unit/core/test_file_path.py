"""Paths as they are written: one form, or none (case 47)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.file_path import Beneath, innermost, is_root, joined, lexical, split, take_apart

ROOTS = {"outer": "/srv", "inner": "/srv/repository"}
ONE_ROOT = {"only": "/srv"}

MALFORMED = {
    "empty": "",
    "nul": "a\x00b",
    "line feed": "a\nb",
    "escape": "a\x1bb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "right to left": "a\u202eb",
    "zero width": "a\u200bb",
    "lone surrogate": "a\ud800",
    "backslash": "a\\b",
    "encoded dots": "%2e%2e/passwd",
    "encoded dots in capitals": "%2E%2E/passwd",
    "encoded slash": "a%2fb",
    "encoded backslash": "a%5cb",
    "encoded NUL": "a%00",
    "encoded twice": "%252e%252e/passwd",
    "overlong encoding": "%c0%ae%c0%ae/passwd",
    "not composed": "cafe\u0301",
    "long name": "a" * 256,
    "long path": "a/" * 2_049,
}

NORMALISED = {
    "a/b": ("a", "b"),
    "./a//b/": ("a", "b"),
    "a/../b": ("b",),
    ".": (),
    "/srv/a": ("a",),
    "//srv/./a": ("a",),
    "/srv": (),
    "caf\u00e9": ("caf\u00e9",),
    "100%": ("100%",),
    "a b;$(c)": ("a b;$(c)",),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_can_be_read_in_two_ways_is_no_path(text: str) -> None:
    """A path with tricks in its spelling is malformed, absolute or not (case 47)."""
    assert take_apart(ONE_ROOT, text) == "malformed"
    assert take_apart(ONE_ROOT, f"/srv/{text}") == "malformed" or not text


@pytest.mark.parametrize("text", NORMALISED)
def test_spellings_of_one_path_are_one(text: str) -> None:
    """`//`, `.`, a `/` at the end and a `..` beneath the root change nothing of where a path leads (case 47)."""
    beneath = take_apart(ONE_ROOT, text)
    assert isinstance(beneath, Beneath)
    assert lexical(beneath) == NORMALISED[text]


@pytest.mark.parametrize("text", ["..", "a/../..", "/srv/..", "/srv/../etc/passwd", "a/../../srv/a"])
def test_nothing_climbs_above_its_root(text: str) -> None:
    """A `..` that leaves the root leads nowhere, also where the path comes back (case 47)."""
    beneath = take_apart(ONE_ROOT, text)
    assert isinstance(beneath, Beneath)
    assert lexical(beneath) is None


@pytest.mark.parametrize("text", ["/etc/passwd", "/srvx/a", "/", "/etc/../srv/a"])
def test_an_absolute_path_begins_with_a_root(text: str) -> None:
    """What begins with no declared root is outside of all, also where it comes back to one (case 47)."""
    assert take_apart(ONE_ROOT, text) == "outside_roots"


def test_a_relative_path_needs_one_root() -> None:
    """With several roots, or none, a relative path could be under any of them."""
    assert take_apart(ROOTS, "a") == "malformed"
    assert take_apart({}, "a") == "malformed"


def test_the_innermost_root_holds() -> None:
    """Of roots within each other, a path is under the longest."""
    assert take_apart(ROOTS, "/srv/repository/a") == Beneath(
        root="inner", folder="/srv/repository", names=("a",)
    )
    assert innermost(ROOTS, ("srv", "other")) == "outer"
    assert innermost(ROOTS, ("etc",)) is None


@pytest.mark.parametrize(
    "folder", ["", "srv", "/srv/", "//srv", "/srv/../etc", "/srv/.", "/s%72v", "/s\u200brv"]
)
def test_a_root_is_a_whole_path_in_one_form(folder: str) -> None:
    """A root that could be spelled otherwise is refused."""
    assert not is_root(folder)
    assert is_root("/srv/repository")


@given(st.lists(st.sampled_from(["a", "b", ".", "..", "", "c d"]), min_size=1, max_size=12).map("/".join))
def test_what_is_kept_is_beneath_the_root(text: str) -> None:
    """Whatever is written, the path that comes of it is beneath the root and has one spelling (case 47)."""
    beneath = take_apart(ONE_ROOT, text)
    if not isinstance(beneath, Beneath) or (names := lexical(beneath)) is None:
        return
    canonical = joined(beneath.folder, names)
    assert canonical == "/srv" or canonical.startswith("/srv/")
    assert take_apart(ONE_ROOT, canonical) == Beneath(root="only", folder="/srv", names=names)
    assert split(canonical) == ("srv", *names)
