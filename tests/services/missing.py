"""What to do where a program that a test needs is not on this machine."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class ProgramMissing(RuntimeError):
    """A program that the tests start is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed: run `make setup-dev` first")
        self.program = program


def program(name: str, *, also_in: Iterable[str] = ()) -> Path:
    """Return the path of a program on PATH or in one of the named folders.

    Raises
    ------
    ProgramMissing
        It is in none of them.
    """
    for folder in also_in:
        candidate = Path(folder) / name
        if candidate.is_file():
            return candidate
    found = shutil.which(name)
    if found is None:
        raise ProgramMissing(name)
    return Path(found)


def in_ci() -> bool:
    """Return whether this is a run that has to have everything."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


@contextmanager
def required() -> Iterator[None]:
    """Fail where everything has to be there (CI), skip with the reason elsewhere."""
    try:
        yield
    except ProgramMissing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
