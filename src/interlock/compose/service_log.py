"""The service's own log, which is for operators: JSON lines on stderr. It is not the decision log."""

import contextlib
import logging
import sys

import structlog


class StderrLogger(structlog.PrintLogger):
    """Writes to stderr. A log that cannot be written breaks nothing: what can still be answered is (case 16)."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def msg(self, message: str) -> None:
        """Write one line, if that can be."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = error = err = critical = fatal = failure = exception = msg


def configure_logging(level: int = logging.INFO) -> None:
    """JSON lines on stderr. Tracebacks come without local variables, which could hold arguments (case 63)."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: StderrLogger(),
        cache_logger_on_first_use=True,
    )
