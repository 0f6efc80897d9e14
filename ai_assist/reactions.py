"""What ai_assist does when it hears of a case."""

from ai_assist.commands import plan_triage
from ai_assist.shelf import Shelf
from kernel.facts import CaseOpened, Fact
from storage.engine import Transaction
from storage.work import Reactions

CONSUMER = "ai_assist.plan"


def reactions(shelf: Shelf) -> Reactions:
    """Return the reactions of this package: an opened case is planned with the models at hand."""

    def plan(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, CaseOpened)
        plan_triage(tx, fact, shelf.cards)

    return {CONSUMER: {CaseOpened: plan}}
