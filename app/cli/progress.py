"""How far long work is: a bar on a terminal, plain lines elsewhere; always on standard error."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

LINES = 10

T = TypeVar("T")


def say(line: str) -> None:
    """Tell one step of long work; standard output belongs to results."""
    click.echo(line, err=True)


def following(items: Iterable[T], label: str, *, length: int | None = None) -> Iterator[T]:
    """Hand on the items while showing how many of them were taken.

    On a terminal it is a bar; elsewhere a line after about each tenth, and none for short work.
    """
    if length is None:
        items = list(items)
        length = len(items)
    if sys.stderr.isatty():
        with click.progressbar(items, label=label, length=length, file=sys.stderr) as bar:
            yield from bar
        return
    step = max(1, -(-length // LINES))
    for done, item in enumerate(items, start=1):
        yield item
        if length > LINES and (done % step == 0 or done == length):
            say(f"{label}: {done} of {length}")
