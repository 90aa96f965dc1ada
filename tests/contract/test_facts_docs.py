"""The page of facts: what it tells of each, and that its examples are rules that opa takes."""

import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import TypeAdapter
from typing_extensions import TypedDict, get_type_hints, is_typeddict

from interlock.adapters.opa_binary import OpaRun, run_opa
from interlock.core.facts import FactsInput

Generator = dict[str, Any]

HEAD = "package interlock.rules.mine\n\nimport data.interlock.reasons\n\n"


@pytest.fixture(scope="module")
def generator(project: Path) -> Generator:
    """The script that writes docs/facts.md."""
    return runpy.run_path(str(project / "tools" / "generate_facts_docs.py"))


@pytest.fixture
def tree(policies: Path, tmp_path: Path) -> Path:
    """The policies that ship, to which a topic can be added."""
    return shutil.copytree(policies, tmp_path / "policies")


def check(opa: Path, tree: Path, example: str) -> OpaRun:
    """What opa says of an example in a topic of its own."""
    module = tree / "rules" / "mine" / "mine.rego"
    module.parent.mkdir()
    module.write_text(HEAD + example)
    return run_opa(opa, "check", "--bundle", ".", "--strict", "--schema=schemas", folder=tree)


def told_rows(generator: Generator) -> list[Any]:
    """All rows of the page."""
    topics = get_type_hints(FactsInput, include_extras=True)
    return [row for topic, hint in topics.items() for row in generator["rows"](topic, hint)]


def spelt_out(path: str) -> list[str]:
    """The paths that `a.{b,c}.d` stands for."""
    found = re.fullmatch(r"([^{]*)(?:\{(.*)\}(.*))?", path)
    assert found
    before, together, rest = found.groups()
    return [f"{before}{name}{rest}" for name in together.split(",")] if together else [path]


def leaves(path: str, hint: Any) -> Iterator[tuple[str, Any]]:
    """Every field of the facts that holds no other, with its type."""
    if is_typeddict(hint):
        for name, member in get_type_hints(hint, include_extras=True).items():
            yield from leaves(f"{path}.{name}".removeprefix("."), member)
    elif get_origin(hint) is list:
        yield from leaves(f"{path}[_]", *get_args(hint))
    else:
        yield path, hint


def test_the_page_of_facts_is_current(generator: Generator, project: Path) -> None:
    """docs/facts.md is what `tools/generate_facts_docs.py` writes."""
    assert (project / generator["PAGE"]).read_text(encoding="utf-8") == generator["render"]()


def test_every_fact_is_told_in_full(generator: Generator) -> None:
    """Each field, in lists too, is a row with a meaning, a unit, a window, and an example of its own type."""
    told = {path: row for row in told_rows(generator) for path in spelt_out(row.path)}
    facts = dict(leaves("", FactsInput))
    assert set(told) == set(facts)
    for path, hint in facts.items():
        fact = told[path].fact
        assert fact.meaning, path
        assert fact.unit, path
        assert fact.window, path
        TypeAdapter(hint).validate_python(fact.example, strict=True)


def test_a_field_that_says_nothing_is_refused(generator: Generator) -> None:
    """A field without its `Fact` stops the generator, rather than leaving a gap in the page."""

    class Mute(TypedDict):
        words: int
        noise: Annotated[int, "loud"]

    for hint in get_type_hints(Mute, include_extras=True).values():
        with pytest.raises(TypeError, match="`topic` says nothing of what it means"):
            list(generator["rows"]("topic", hint))


def test_every_topic_has_an_example(generator: Generator) -> None:
    """Each topic of the facts comes with a rule that uses one of them."""
    assert list(generator["EXAMPLES"]) == list(FactsInput.__annotations__)
    for topic, example in generator["EXAMPLES"].items():
        assert f"input.facts.{topic}" in example


@pytest.mark.parametrize("topic", list(FactsInput.__annotations__))
def test_examples_compile_against_the_schema(generator: Generator, opa: Path, tree: Path, topic: str) -> None:
    """What a policy author copies is a rule that `opa check --strict --schema` takes, and formatted."""
    run = check(opa, tree, generator["EXAMPLES"][topic])
    assert run.succeeded, run.errors
    assert run_opa(opa, "fmt", "--list", "rules/mine", folder=tree).output == b""


def test_an_example_over_a_field_that_is_not_there_fails(generator: Generator, opa: Path, tree: Path) -> None:
    """The check of the examples sees a name that no fact has."""
    run = check(opa, tree, generator["EXAMPLES"]["spend"].replace("model_tokens", "tokens"))
    assert not run.succeeded
    assert "undefined ref: input.facts.spend.tokens" in run.errors
