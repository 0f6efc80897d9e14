"""Logs: constant dotted event names, ids as fields, never patient data; JSON in production."""

import logging
import sys

import structlog


def configure(*, as_json: bool, quiet: bool = False) -> None:
    """Send structlog and the standard library to standard error.

    Exceptions are written without the values of local variables, which may hold patient data.
    """
    level = logging.ERROR if quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s", force=True)
    # These name addresses and arguments at levels that a hospital would leave on.
    for chatty in ("httpx", "httpcore", "pynetdicom", "pydicom", "fontTools", "pyhanko"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    last = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
