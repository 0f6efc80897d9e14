"""Entrances and wiring: the command, the web, the listener's start, the relay and its worker."""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    # Where a developer's tools brought rich along, structlog loads it: megabytes in every process,
    # for tracebacks that are never shown.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog as structlog

    del sys.modules["rich"]
