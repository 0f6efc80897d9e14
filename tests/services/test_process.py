"""A server that cannot start says why, and leaves nothing running."""

import sys
from pathlib import Path

import pytest

from tests.services.missing import ProgramMissing, program
from tests.services.ports import free_port
from tests.services.process import Recipe, ServerFailed, start


def test_a_server_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    recipe = Recipe(
        name="The broken one",
        command=[sys.executable, "-c", "raise SystemExit('no licence on this machine')"],
        cwd=tmp_path,
        log=tmp_path / "log",
        ready=lambda: False,
    )
    with pytest.raises(ServerFailed, match=r"(?s)broken one ended with code 1.*no licence"):
        start(recipe)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    recipe = Recipe(
        name="The silent one",
        command=[sys.executable, "-c", "import signal; signal.pause()"],
        cwd=tmp_path,
        log=tmp_path / "log",
        ready=lambda: False,
        ready_within_s=0.3,
    )
    with pytest.raises(ServerFailed, match=r"not ready after 0\.3 s"):
        start(recipe)


def test_a_missing_program_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        ProgramMissing, match="no-such-program is not installed: run `make setup-dev`"
    ):
        program("no-such-program")


def test_ports_are_never_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
