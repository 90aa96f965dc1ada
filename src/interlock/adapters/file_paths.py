"""Finding where a path leads, beneath declared folders only (case 47)."""

from collections.abc import Mapping

from interlock.core.destinations import DestinationProblem


def resolve_path(roots: Mapping[str, str], text: str) -> tuple[str, str, DestinationProblem]:
    """core.destinations.ResolvePath on this machine's files."""
    raise NotImplementedError
