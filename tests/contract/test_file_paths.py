"""Paths on this machine's files: links are followed beneath the root, and none leads out of it (case 47)."""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.adapters.file_paths import LeadsElsewhere, open_beneath, resolve_path
from interlock.core.destinations import destinations_of, digest_of_destinations, disclosed
from tests.tool_calls import a_tool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with files and links in it, beside a folder that is none of its."""
    root = tmp_path.resolve() / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("outside")
    links = {
        "to-a": "a",
        "a/up": "../a/b",
        "absolute": str(root / "a" / "b"),
        "out": "../outside",
        "out-absolute": "/etc",
        "climbs": "a/../../outside/secret",
        "loop": "loop",
        "dangling": "a/not-there",
        "odd": "a/%2e%2e",
        "through": "to-a/up",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    return root


LEADS_TO = {
    "file": ("a/file", "a/file"),
    "folder": ("a/b/", "a/b"),
    "the root itself": (".", ""),
    "double slash": ("a//./file", "a/file"),
    "link": ("to-a/file", "a/file"),
    "link that climbs beneath the root": ("a/up", "a/b"),
    "absolute link beneath the root": ("absolute/new", "a/b/new"),
    "link through a link": ("through", "a/b"),
    "link to what is not there": ("dangling", "a/not-there"),
    "new file": ("a/new", "a/new"),
    "new folders": ("a/x/y/z", "a/x/y/z"),
    "up from what is not there": ("a/x/../file", "a/file"),
    "beneath a file": ("a/file/x", "a/file/x"),
    "beneath a link and up again": ("to-a/b/..", "a"),
}

LEADS_NOWHERE = {
    "climbs": ("../outside/secret", "outside_roots"),
    "climbs and comes back": ("../root/a", "outside_roots"),
    "link out": ("out/secret", "outside_roots"),
    "absolute link out": ("out-absolute/passwd", "outside_roots"),
    "link that climbs out": ("climbs", "outside_roots"),
    "loop": ("loop", "malformed"),
    "up from a link": ("to-a/../a/file", "malformed"),
    "encoded dots": ("%2e%2e/outside/secret", "malformed"),
    "link to encoded dots": ("odd", "malformed"),
    "nul": ("a\x00", "malformed"),
    "absolute elsewhere": ("/etc/passwd", "outside_roots"),
}


@pytest.mark.parametrize("name", LEADS_TO)
def test_a_path_has_one_canonical_form(root: Path, name: str) -> None:
    """Every way to a file beneath the root gives its absolute path without links, relative or not (case 47)."""
    text, canonical = LEADS_TO[name]
    expected = (str(root / canonical), "files", "")
    assert resolve_path({"files": str(root)}, text) == expected
    assert resolve_path({"files": str(root), "other": "/other"}, f"{root}/{text}") == expected


@pytest.mark.parametrize("name", LEADS_NOWHERE)
def test_nothing_leads_out_of_the_root(root: Path, name: str) -> None:
    """Neither `..`, nor a link, nor a trick of spelling leads out of the root (case 47)."""
    text, problem = LEADS_NOWHERE[name]
    assert resolve_path({"files": str(root)}, text) == ("", "", problem)


def test_a_root_may_be_a_link_itself(root: Path) -> None:
    """The root is the operator's: its own links are followed, and links beneath may name it either way."""
    alias = root.parent / "alias"
    alias.symlink_to(root)
    assert resolve_path({"files": str(alias)}, "absolute") == (f"{alias}/a/b", "files", "")


def test_a_root_that_is_elsewhere_leaves_the_text(tmp_path: Path) -> None:
    """Where the root is not on this machine, a path leads where its text says, and not above the root."""
    roots = {"files": str(tmp_path / "not-there")}
    assert resolve_path(roots, "a/../b") == (f"{tmp_path}/not-there/b", "files", "")
    assert resolve_path(roots, "../b") == ("", "", "outside_roots")


def test_a_name_that_is_found_in_another_case_has_no_one_form(root: Path) -> None:
    """Where `README` and `readme` are one file, neither is a name to decide on (case 47)."""
    (root / "README").write_text("")
    assert resolve_path({"files": str(root)}, "README")[2] == ""
    os.link(root / "README", root / "readme")  # as a folder that does not tell case apart shows itself
    assert resolve_path({"files": str(root)}, "README") == ("", "", "malformed")
    assert resolve_path({"files": str(root)}, "readme") == ("", "", "malformed")


def test_a_folder_that_becomes_a_link_is_not_opened(root: Path) -> None:
    """What was resolved is opened as it was, and refused once a link stands on the way (case 47)."""
    canonical, _, _ = resolve_path({"files": str(root)}, "a/file")
    os.close(open_beneath(str(root), canonical))
    (root / "a").rename(root / "was-a")
    (root / "a").symlink_to("was-a")
    with pytest.raises(LeadsElsewhere):
        open_beneath(str(root), canonical)


@pytest.mark.parametrize("change", [Path.rmdir, lambda path: path.rename(path.with_name("moved"))])
def test_a_root_that_is_gone_is_not_opened(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Without its root, nothing beneath is what it was."""
    folder = tmp_path / "root"
    folder.mkdir()
    os.close(open_beneath(str(folder), f"{folder}/new/file"))
    change(folder)
    with pytest.raises(LeadsElsewhere):
        open_beneath(str(folder), f"{folder}/new/file")


def test_a_link_that_is_swapped_all_the_time_leads_out_in_no_moment(root: Path) -> None:
    """While an attacker swaps a folder for a link out, nothing outside is ever found or opened (case 47)."""
    stop = threading.Event()

    def swap() -> None:
        folder, link, kept = root / "swapped", root / "link", root / "kept"
        folder.mkdir()
        link.symlink_to("../outside")
        while not stop.is_set():
            folder.rename(kept)
            link.rename(folder)
            folder.rename(link)
            kept.rename(folder)

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        found = {resolve_path({"files": str(root)}, "swapped/secret") for _ in range(2_000)}
        for _ in range(2_000):
            try:
                opened = open_beneath(str(root), f"{root}/swapped/secret")
            except LeadsElsewhere:
                continue
            assert Path(f"/proc/self/fd/{opened}").readlink().is_relative_to(root)
            os.close(opened)
    finally:
        stop.set()
        attacker.join()
    good = (f"{root}/swapped/secret", "files", "")
    assert found <= {good, ("", "", "outside_roots"), ("", "", "malformed")}


def test_nothing_that_is_written_raises(root: Path) -> None:
    """Whatever an agent writes, there is an answer."""
    pieces = [
        "a",
        "..",
        ".",
        "/",
        "//",
        "to-a",
        "loop",
        "out",
        "%2e",
        "\\",
        "\x00",
        "\ud800",
        "é",
        "e\u0301",
        "x" * 300,
    ]
    chance = random.Random(47)
    for _ in range(3_000):
        text = "".join(chance.choice(pieces) + chance.choice(["", "/"]) for _ in range(chance.randrange(8)))
        canonical, name, problem = resolve_path({"files": str(root)}, text)
        assert (canonical == "") == (problem != "") == (name == "")
        assert not canonical or Path(canonical).is_relative_to(root)


def test_a_sensitive_path_is_digested_and_not_disclosed(root: Path) -> None:
    """What a sensitive argument names reaches no policy and no record, and still counts in the digest (case 63)."""
    tool = a_tool(roots={"files": str(root)}, roles={"/path": "path", "/other": "path"}, sensitive=("/path",))
    first, second = (
        destinations_of(tool, {"path": path, "other": "a"}, resolve_path) for path in ("a/file", "a/b")
    )
    assert digest_of_destinations(first) != digest_of_destinations(second)
    assert [each.canonical for each in disclosed(tool, first)] == ["", str(root / "a")]
    assert disclosed(tool, first) == disclosed(tool, second)
