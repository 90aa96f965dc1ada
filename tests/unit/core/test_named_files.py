"""What is bound of the files that arguments name (case 51)."""

import pytest

from interlock.core.catalog import Effect
from interlock.core.destinations import Destination
from interlock.core.named_files import ABSENT, UNREAD, changed_by, digest_of_files, is_touched, paths_of
from tests.tool_calls import a_tool

ROOTS = {"files": "/srv", "inner": "/srv/inner"}


def leads_to(canonical: str, root: str = "files") -> Destination:
    return Destination(path="/path", kind="path", canonical=canonical, root=root)


def test_each_path_has_the_folder_of_its_root() -> None:
    """Paths are told each once, in order, with their root's folder; addresses and paths with a problem are none."""
    tool = a_tool(roots=ROOTS)
    address = Destination(path="/url", kind="url", canonical="https://example.com/", host="example.com")
    nowhere = Destination(path="/path", kind="path", canonical="", problem="outside_roots")
    named = [leads_to("/srv/x"), address, nowhere, leads_to("/srv/inner/a", "inner"), leads_to("/srv/x")]
    assert list(paths_of(tool, named).items()) == [("/srv/inner/a", "/srv/inner"), ("/srv/x", "/srv")]
    assert paths_of(None, named) == {}


def test_what_is_unread_is_bound_to_nothing() -> None:
    """A path that was not read changes no digest, and where nothing was read there is none; nothing there is a fact."""
    assert digest_of_files({"/srv/x": UNREAD}) == digest_of_files({}) == ""
    assert digest_of_files({"/srv/x": UNREAD, "/srv/y": ABSENT}) == digest_of_files({"/srv/y": ABSENT})
    found = [{"/srv/y": ABSENT}, {"/srv/z": ABSENT}, {"/srv/y": "0" * 64}, {"/srv/y": "1" * 64}]
    assert len({digest_of_files(each) for each in found}) == len(found)


@pytest.mark.parametrize(
    ("effects", "changed"), [((Effect.READ,), []), ((Effect.READ, Effect.WRITE), ["/srv/x"])], ids=str
)
def test_only_what_does_more_than_read_changes_files(effects: tuple[Effect, ...], changed: list[str]) -> None:
    """A call may change each path that it names, unless the catalog says that it only reads."""
    tool = a_tool(roots=ROOTS, effects=effects)
    assert sorted(changed_by(tool, [leads_to("/srv/x")])) == changed


@pytest.mark.parametrize(
    ("path", "touched"),
    [("/srv/x", True), ("/srv/x/y", True), ("/srv/xy", False), ("/srv", False), ("/other", False)],
)
def test_a_folder_holds_what_is_beneath_it(path: str, touched: bool) -> None:
    """What changes a folder may change all beneath it, and nothing whose name only begins like it."""
    assert is_touched(path, ["/srv/x"]) is touched
    assert is_touched(path, ["/"])
