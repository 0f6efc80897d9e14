"""Nothing that a data set or a request holds gets into the log by way of somebody else's words."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.logs import places_of

SPEAKERS = """
    import logging, sys, threading, warnings
    import structlog
    from app import logs
    from kernel.errors import Refused

    logs.configure(as_json=sys.argv[1] == "json")
    log = structlog.get_logger()
    log.info("study.stored", study="1.2.3")
    try:
        int("MARKED")
    except ValueError:
        log.exception("step.failed", id=7)
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=True)
        try:
            raise Refused("the rule says no")
        except Refused:
            log.exception("step.refused")
    logging.getLogger("pydicom").error("Invalid value for VR PN: %s", "MARKED")
    logging.getLogger("kombu.connection").warning("broker is away")
    warnings.warn("Invalid value for VR PN: MARKED")
    died = threading.Thread(target=int, args=("MARKED",), name="worker")
    died.start()
    died.join()
"""


def test_an_exception_that_is_its_own_cause_is_told_and_ends() -> None:
    error = ValueError()
    error.__cause__ = error

    assert "ValueError" in places_of(error)


FULL = """
    import structlog
    from app import logs

    logs.configure(as_json=True)
    for number in range(1000):  # more than any buffer holds
        structlog.get_logger().info("study.stored", study=f"1.2.3.{number}")
    print("went on", flush=True)
"""


def test_a_log_on_a_full_disk_fails_nothing_that_it_tells_of() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(FULL)],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )

    assert done.stdout == "went on\n"


@pytest.mark.parametrize("form", ["json", "text"])
def test_events_are_told_and_values_are_not(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SPEAKERS), form], capture_output=True, text=True
    )

    assert done.returncode == 0
    assert done.stdout == ""
    assert "MARKED" not in done.stderr.replace('int("MARKED")', "")
    for told in (
        "study.stored",
        "step.failed",
        "ValueError",
        "the rule says no",
        "Exception in ASGI application",
        "pydicom: error at",
        "broker is away",
        "UserWarning",
        "thread.died",
    ):
        assert told in done.stderr
    if form == "json":
        first = json.loads(done.stderr.splitlines()[0])
        assert (first["event"], first["study"], first["level"]) == ("study.stored", "1.2.3", "info")
