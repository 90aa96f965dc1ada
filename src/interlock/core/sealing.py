"""What an append does, whichever store it goes to: which drafts are new, what they change, where they stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.core.cells import Cells
from interlock.core.record import Draft, Head, Record, head_after, seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The record of each draft, in order; `new` are those of them that are to be stored."""

    appended: list[Record]
    new: list[Record]


def cells_of(drafts: Sequence[Draft], present: Mapping[str, Record]) -> set[bytes]:
    """The cells that the drafts may change, but for those whose name is in the log already."""
    return {
        key for draft in drafts if draft.change and draft.once not in present for key in draft.change.keys
    }


def seal_all(drafts: Sequence[Draft], present: Mapping[str, Record], cells: Cells, head: Head) -> Sealed:
    """Run the changes of new drafts and seal them after `head`, one after the other.

    `present` are the records that bear names of the drafts. A name that comes twice is new once. For a draft that is
    not stored because the one it goes with is there already, that one's record is given.
    """
    known, appended, new = dict(present), [], []
    leader = ""
    for draft in drafts:
        record = known.get(draft.with_once if draft.with_once and draft.with_once != leader else draft.once)
        if not draft.with_once:
            leader = "" if record else draft.once
        if record is None:
            record = seal(draft.change.run(draft, cells, head.size) if draft.change else draft, head)
            head = head_after(record)
            new.append(record)
            if draft.once:
                known[draft.once] = record
        appended.append(record)
    return Sealed(appended=appended, new=new)
