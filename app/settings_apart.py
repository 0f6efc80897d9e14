"""Settings that are read in a process of their own, whose end frees what reading them took.

To check settings takes pydantic: 11 MB that a process that only receives never needs again.
"""

import os
import pickle
from collections import namedtuple
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, cast

if TYPE_CHECKING:
    from pydantic import BaseModel

    from app.settings import Settings


class _Section(dict[str, object]):
    """The fields and properties of one model of settings."""


class _Secret:
    """A value that is not shown, as pydantic's `SecretStr`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "**********" if self._value else ""

    def get_secret_value(self) -> str:
        """Return it."""
        return self._value


def read_apart(read: "Callable[[], Settings]") -> "Settings":
    """Return settings to read from, with all their fields and properties and no pydantic.

    Parameters
    ----------
    read
        Called in a forked process, before there are threads.  If it raises there it is called
        here as well, for whoever is to hear why.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _say(read, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read()
    os.waitpid(pid, 0)
    if not said:
        return read()
    # What comes here was written by a fork of this process.
    return cast("Settings", _frozen("Settings", pickle.loads(said)))  # noqa: S301


def _say(read: "Callable[[], Settings]", pipe: int) -> NoReturn:
    with suppress(BaseException):
        said = pickle.dumps(_plain(read()))
        with os.fdopen(pipe, "wb") as telling:
            telling.write(said)
    os._exit(0)


def _plain(model: "BaseModel") -> _Section:
    properties = (
        name
        for each in type(model).__mro__
        if each.__module__ == "app.settings"
        for name, value in vars(each).items()
        if isinstance(value, property)
    )
    return _Section(
        {name: _value(getattr(model, name)) for name in (*type(model).model_fields, *properties)}
    )


def _value(value: object) -> object:
    from pydantic import BaseModel, SecretStr

    if isinstance(value, SecretStr):
        return _Secret(value.get_secret_value())
    return _plain(value) if isinstance(value, BaseModel) else value


def _frozen(name: str, section: _Section) -> object:
    values = {
        key: _frozen(key, value) if isinstance(value, _Section) else value
        for key, value in section.items()
    }
    return namedtuple(name, values)(**values)
