"""Finding patients by name: the keys of `kernel.name_key`, kept beside the registry and indexed.

A search begins at the first letters of a key, which the index serves; what follows a wild card is
compared within what that leaves, and a key that begins with one is looked for among all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from kernel import name_key
from storage.engine import Transaction
from storage.like import ESCAPE, bounds, like
from storage.prepared import Prepared
from storage.tables.patients import PATIENT_NAME_KEYS, PATIENTS
from storage.wanted import Wanted

NAME, WORD = "name", "word"

_ENTER = Prepared(
    {
        "sqlite": sqlite.insert(PATIENT_NAME_KEYS).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(PATIENT_NAME_KEYS).on_conflict_do_nothing(),
    },
    ["kind", "name_key", "patient_ref"],
)


def enter(tx: Transaction, names: Mapping[str, str]) -> None:
    """Keep the keys of names, by the reference of their patient."""
    rows = [(kind, key, ref) for ref in sorted(names) for kind, key in _keys_of(names[ref])]
    if rows:
        tx.run(_ENTER, rows)


def replace(tx: Transaction, ref: str, name: str) -> None:
    """Keep the keys of a name that was corrected, and forget those of the one before."""
    tx.execute(delete(PATIENT_NAME_KEYS).where(PATIENT_NAME_KEYS.c.patient_ref == ref))
    enter(tx, {ref: name})


def rows_of(ref: str, name: str) -> list[dict[str, Any]]:
    """Return the rows that a name is found by."""
    return [{"kind": k, "name_key": key, "patient_ref": ref} for k, key in _keys_of(name)]


def _keys_of(name: str) -> list[tuple[str, str]]:
    if not name:
        return []
    made = [(NAME, key) for key in sorted(name_key.keys_of(name))]
    return made + [(WORD, key) for key in sorted(name_key.words_of(name))]


def found_by(kind: str, patterns: Iterable[str]) -> Wanted:
    """Return the condition that a key of the patient is like one of the patterns.

    Parameters
    ----------
    patterns
        Keys with the wild cards ``*`` and ``?``.
    """
    forms, values = [], []
    for pattern in patterns:
        form, of_it = _form(pattern[: name_key.MAX_KEY])
        forms.append(form)
        values += of_it
    return Wanted(_found, (kind, tuple(forms)), tuple(values))


class _Form(NamedTuple):
    """What of a pattern is compared: all of it at once, what it begins with, the rest of it."""

    whole: bool = False
    beginning: bool = False
    rest: bool = False


def _form(pattern: str) -> tuple[_Form, list[str]]:
    first, behind = bounds(pattern)
    if first == pattern:
        return _Form(whole=True), [pattern]
    form = _Form(beginning=bool(first), rest=pattern != f"{first}*")
    ends = [first, behind] if form.beginning else []
    return form, ends + ([like(pattern)] if form.rest else [])


def _found(about: tuple[str, tuple[_Form, ...]], values: Sequence[Any]) -> ColumnElement[bool]:
    kind, forms = about
    left = iter(values)
    first, *others = (
        select(PATIENT_NAME_KEYS.c.patient_ref).where(
            PATIENT_NAME_KEYS.c.kind == kind, *_compared(form, left)
        )
        for form in forms
    )
    if others:
        return PATIENTS.c.ref.in_(first.union(*others))
    # PostgreSQL takes a key that begins with a wild card for a common one, and would look it up
    # study by study; an offset keeps it from joining, and the keys are gone through once.
    bounded = forms[0].whole or forms[0].beginning
    return PATIENTS.c.ref.in_(first if bounded else first.offset(0))


def _compared(form: _Form, left: Iterator[Any]) -> list[ColumnElement[bool]]:
    column = PATIENT_NAME_KEYS.c.name_key
    if form.whole:
        return [column == next(left)]
    wanted: list[ColumnElement[bool]] = []
    if form.beginning:
        wanted += [column >= next(left), column < next(left)]
    if form.rest:
        wanted.append(column.like(next(left), escape=ESCAPE))
    return wanted
