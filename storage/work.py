"""What drives the engine on: reactions to facts, and work that is due."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kernel.facts import Fact
from storage.engine import Transaction
from storage.signs import Sign

Queue = Literal["default", "ai", "outward"]
Reaction = Callable[[Transaction, Fact], None]
Reactions = Mapping[str, Mapping[type[Fact], Reaction]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueWork:
    """A kind of work found by looking: `due` names what is due, `run` does one of them.

    `due` is a cheap, indexed query.  `run` claims its id with a lease before it works, so that
    being called twice, or killed half way, does no harm.
    """

    name: str
    queue: Queue
    due: Callable[[Transaction], list[str]]
    run: Callable[[str], None]
    can_wait: bool = False
    """Nobody waits for it: it steps aside while instances arrive, for a bounded time."""
    signs: Sequence[Sign] = ()
    """One of them is there wherever `due` finds something; without any, `due` is always asked."""
