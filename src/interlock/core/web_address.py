"""One parser of web addresses, for what the policy sees and for what is connected to (case 45)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from interlock.core.connector_entries import HttpEntry

if TYPE_CHECKING:
    from interlock.core.destinations import Destination


def destination_of(pointer: str, text: str) -> "Destination":
    """Where an argument that is a URL leads."""
    raise NotImplementedError


def destination_of_call(entry: HttpEntry, arguments: Mapping[str, Any]) -> "Destination":
    """Where a call of an HTTP tool leads, of arguments of its one form."""
    raise NotImplementedError
