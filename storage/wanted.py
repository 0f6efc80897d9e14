"""What a query of the index wants, with the values apart from the conditions.

The database layer takes longer to build a statement and to recognise it than the database takes
to answer.  Queries that want the same of other values have one shape, and so one statement, which
is made once.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement

from storage.like import ESCAPE, bounds, like

Made = Callable[[Any, Sequence[Any]], ColumnElement[bool]]
Shape = tuple[tuple[Made, Hashable, int], ...]


class Wanted(NamedTuple):
    """One condition.

    Parameters
    ----------
    make
        Makes it of what it is about and of values, or of what stands for them in a statement.
    about
        A column, or what else the text of the condition depends on.
    """

    make: Made
    about: Any
    values: tuple[Any, ...]

    def made(self) -> ColumnElement[bool]:
        """Return the condition with its values in it."""
        return self.make(self.about, self.values)


def shape_of(wanted: Sequence[Wanted]) -> Shape:
    """Return what the statement depends on: all but the values."""
    return tuple((each.make, each.about, len(each.values)) for each in wanted)


def conditions(shape: Shape, stand_ins: Sequence[Any]) -> list[ColumnElement[bool]]:
    """Return the conditions of a shape, each with its share of what stands for the values."""
    made, at = [], 0
    for make, about, number in shape:
        made.append(make(about, stand_ins[at : at + number]))
        at += number
    return made


def among(column: ColumnElement[str], values: Sequence[str]) -> Wanted:
    """Return the condition that a column has one of some values."""
    return Wanted(_among, column, tuple(values))


def is_like(column: ColumnElement[str], pattern: str, dialect: str) -> list[Wanted]:
    """Return the conditions that a column is like a pattern, as an index serves them."""
    wanted = [Wanted(_like, column, (like(pattern),))]
    first, behind = bounds(pattern)
    if first and dialect == "sqlite":  # compares by code point; others' indexes serve LIKE
        wanted.append(Wanted(_between, column, (first, behind)))
    return wanted


def equal(column: ColumnElement[str], value: str) -> Wanted:
    """Return the condition that a column has a value."""
    return Wanted(_equal, column, (value,))


def at_least(column: ColumnElement[str], value: str) -> Wanted:
    """Return the condition that a column has a value or a larger one."""
    return Wanted(_at_least, column, (value,))


def at_most(column: ColumnElement[str], value: str) -> Wanted:
    """Return the condition that a column has a value or a smaller one."""
    return Wanted(_at_most, column, (value,))


def _among(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    return column.in_(values)


def _like(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    return column.like(values[0], escape=ESCAPE)


def _between(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    made: ColumnElement[bool] = (column >= values[0]) & (column < values[1])
    return made


def _equal(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    made: ColumnElement[bool] = column == values[0]
    return made


def _at_least(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    made: ColumnElement[bool] = column >= values[0]
    return made


def _at_most(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    made: ColumnElement[bool] = column <= values[0]
    return made
