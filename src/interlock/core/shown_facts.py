"""The facts that a person should see with a question: what its reasons speak of, where it is not as it always is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from interlock.core.shown_text import quoted

MOST_FACTS = 24

_MOST_LISTED = 8

_SECTIONS = {
    "breakers": "breaker",
    "budgets": "spend",
    "freezes": "freezes",
    "loops": "loops",
    "retries": "retries",
    "validation": "violations",
}
"""The section of the facts that the rules of a topic go by."""

_ALWAYS = ("novelty", "context", "provenance", "provenance_unlisted", "standing")
"""Sections that say something about any call: what is new about it, and what it rests on."""

_AS_ALWAYS: Mapping[str, Any] = {
    "attempts": 1,
    "depth": 1,
    "digest_matches": True,
    "first_attempts": 1,
    "parent_known": True,
    "same_call": 1,
    "same_call_same_result": 1,
    "seconds_since_failure": -1,
    "similar_call": 1,
    "state": "closed",
}
"""Where that is another value than false, zero or nothing."""

_SAYS_NOTHING = {"digest_sent", "goal_set_by", "idle_seconds", "key_given", "steps"}
_CREDIBLE = {"goal", "trusted"}


def telling_facts(facts: Mapping[str, Any], codes: Iterable[str]) -> list[tuple[str, str]]:
    """Names and values of the facts behind reasons of these codes, on one line each, at most MOST_FACTS.

    Names are paths under `input.facts`; texts are as `quoted` shows them. Of a list, each element that tells something
    has a line of its own.
    """
    topics = {code.partition(".")[0] for code in codes}
    sections = [section for topic, section in _SECTIONS.items() if topic in topics]
    found = [
        (path, text)
        for section in [*sections, *_ALWAYS]
        if section in facts
        for path, text in _telling(section, section, facts[section])
    ]
    if len(found) > MOST_FACTS:
        more = len(found) - MOST_FACTS
        return [*found[:MOST_FACTS], ("…", f"{more:,} more facts; the record of the decision has them all")]
    return found


def _telling(path: str, name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for each, member in value.items():
                yield from _telling(f"{path}.{each}", each, member)
        case list():
            yield from ((path, _line(each)) for each in value if _tells(name, each))
        case _ if not _is_quiet(name, value):
            yield path, _scalar(value)


def _is_quiet(name: str, value: Any) -> bool:
    return name in _SAYS_NOTHING or (value == _AS_ALWAYS[name] if name in _AS_ALWAYS else not value)


def _tells(name: str, element: Any) -> bool:
    match name, element:
        case "provenance", {"source": source}:
            return source not in _CREDIBLE
        case "targets", {"first": first}:
            return bool(first)
    return True


def _line(element: Any) -> str:
    if isinstance(element, dict):
        return ", ".join(f"{name} {_scalar(value)}" for name, value in element.items())
    return _scalar(element)


def _scalar(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return quoted(value, most=80)
        case list() | tuple():
            return _listed(value)
    return quoted(str(value), most=80).strip('"')


def _listed(values: Sequence[Any]) -> str:
    more = len(values) - _MOST_LISTED
    return " ".join(map(_scalar, values[:_MOST_LISTED])) + (f" and {more:,} more" if more > 0 else "")
