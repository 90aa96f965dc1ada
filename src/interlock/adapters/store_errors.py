"""What a caller hears when the decision service's store fails, whichever store it is."""

import contextlib
from collections.abc import Iterator

import structlog

from interlock.core.errors import ErrorReason, InterlockError

logger = structlog.get_logger()


class StoreUnavailable(Exception):
    """The store did not do it, or did not say in time that it did. What was asked is not done."""


class StoreUnusable(Exception):
    """A store that must not be used as it is; the message says what is wrong and what to do."""


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """Tells the caller that nothing is decided; what the store's own trouble is goes to the service's log."""
    try:
        yield
    except StoreUnavailable as error:
        logger.error("decision_log_unavailable", cause=str(error))
        raise InterlockError(
            reason=ErrorReason.DECISION_LOG_UNAVAILABLE,
            message="the decision log cannot be read or written, so nothing is decided",
            retry_after=1.0,
        ) from error
