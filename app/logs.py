"""Logs: constant dotted event names, ids as fields, never patient data; JSON in production.

What other libraries say may quote the values of a data set or of a request, so it is let through
by name only; exceptions are written with their places and without their messages.
"""

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from kernel.errors import EngineError

# These write about sockets, messages of the broker and migrations, never about what is in them.
_MAY_SPEAK = frozenset({"alembic", "amqp", "celery", "kombu", "uvicorn"})
_MAX_CAUSES = 10

log = structlog.get_logger()


def configure(*, as_json: bool, quiet: bool = False) -> None:
    """Send structlog, the standard library, warnings and dying threads to standard error."""
    level = logging.ERROR if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Discreet())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    warnings.showwarning = _show_warning
    threading.excepthook = _thread_died
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
            _place_of_exception,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def places_of(error: BaseException) -> str:
    """Return where an exception and its causes came from: lines of code, and no messages.

    Messages of our own errors are sentences without patient data; those of others may quote
    anything.
    """
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < _MAX_CAUSES:  # an exception may be its own cause
        frames = traceback.format_list(traceback.extract_tb(seen.__traceback__))
        said = f": {seen.sentence}" if isinstance(seen, EngineError) else ""
        parts.append("".join(frames) + type(seen).__name__ + said)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n\nwhich came of\n\n".join(parts)


class _Unfailing:
    """Where lines of the log go: into a file on a full disk or a pipe that nobody reads, perhaps.

    What is told is lost then, and nothing of what it tells of; as in `logging.Handler`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _Discreet(logging.Formatter):
    """Formats what other libraries log: their words where they may speak, else only who spoke."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        if record.name.split(".")[0] in _MAY_SPEAK:
            said = record.getMessage()
        else:
            said = f"{record.levelname.lower()} at {record.filename}:{record.lineno}"
        line = f"{record.name}: {said}"
        error = record.exc_info[1] if record.exc_info else None
        return line if error is None else f"{line}\n{places_of(error)}"


def _place_of_exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    told = event.pop("exc_info", None)
    error = sys.exc_info()[1] if told is True else told
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = places_of(error)
    return event


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell which warning came from where; its text may quote an element of a data set."""
    log.warning("python.warning", category=category.__name__, place=f"{filename}:{lineno}")


def _thread_died(told: threading.ExceptHookArgs) -> None:
    name = told.thread.name if told.thread is not None else ""
    info: tuple[type[BaseException], BaseException | None, TracebackType | None]
    info = (told.exc_type, told.exc_value, told.exc_traceback)
    log.error("thread.died", thread=name, exc_info=info)
