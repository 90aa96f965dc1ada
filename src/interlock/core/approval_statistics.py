"""What people answer, by reason code: which rules are worth their attention, and which only take it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median


class Fate(StrEnum):
    """What became of a question to people. `withdrawn`: taken back by its agent, or superseded, before an answer."""

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    PENDING = "pending"


class Tendency(StrEnum):
    """What people always answer."""

    ALWAYS_APPROVED = "always_approved"
    ALWAYS_DENIED = "always_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An approval, as far as it counts; what was approved stays so, also where its agent never came back for it.

    `wait_seconds` is from its opening to the answer that settled it, None where none did.
    """

    codes: tuple[str, ...]
    fate: Fate
    edited: bool
    wait_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeStatistics:
    """What became of the questions that a reason code opened; `edited` of `approved` had other arguments.

    `median_wait_seconds` is the exact median over those that people answered, None where they answered none.
    """

    code: str
    opened: int
    approved: int
    denied: int
    edited: int
    expired: int
    withdrawn: int
    pending: int
    median_wait_seconds: float | None

    @property
    def answered(self) -> int:
        """How many people answered with a yes or a no."""
        return self.approved + self.denied

    def tendency(self, least: int) -> Tendency | None:
        """What people always answer, where they answered at least `least` times, and as it was asked."""
        if self.answered < max(1, least):
            return None
        if self.approved == self.answered and not self.edited:
            return Tendency.ALWAYS_APPROVED
        return Tendency.ALWAYS_DENIED if self.denied == self.answered else None


def statistics_by_code(questions: Iterable[Question]) -> list[CodeStatistics]:
    """One entry for each reason code, those that opened most first. A question counts once for each of its codes."""
    by_code: dict[str, list[Question]] = {}
    for question in questions:
        for code in {*question.codes}:
            by_code.setdefault(code, []).append(question)
    found = [_of_code(code, asked) for code, asked in by_code.items()]
    return sorted(found, key=lambda each: (-each.opened, each.code))


def _of_code(code: str, asked: Sequence[Question]) -> CodeStatistics:
    fates = Counter(each.fate for each in asked)
    waits = [each.wait_seconds for each in asked if each.wait_seconds is not None]
    return CodeStatistics(
        code=code,
        opened=len(asked),
        approved=fates[Fate.APPROVED],
        denied=fates[Fate.DENIED],
        edited=sum(each.edited for each in asked if each.fate is Fate.APPROVED),
        expired=fates[Fate.EXPIRED],
        withdrawn=fates[Fate.WITHDRAWN],
        pending=fates[Fate.PENDING],
        median_wait_seconds=median(waits) if waits else None,
    )
