"""Work of the worklist that is found by looking at the clock."""

from kernel.people import ENGINE
from storage.engine import Database, Transaction
from storage.work import DueWork
from worklist import commands, store
from worklist.act import Act
from worklist.settings import WorklistSettings

_AT_ONCE = 100


class WorklistWork:
    """What falls due in the worklist, and how it is done.

    Each run decides again in its own transaction, so that being called twice, or killed half way,
    does no harm.
    """

    def __init__(self, database: Database, settings: WorklistSettings) -> None:
        self.database = database
        self.settings = settings

    def due_work(self) -> tuple[DueWork, ...]:
        """Return the kinds of work for the relay."""
        return (
            DueWork(
                name="worklist.enqueue_overdue",
                queue="default",
                due=self.triage_overdue,
                run=self.enqueue_overdue,
                signs=(store.awaiting_triage(self.settings.triage_deadline),),
            ),
            DueWork(
                name="worklist.offer",
                queue="default",
                due=self.profiles_to_look_at,
                run=self.offer,
                signs=store.LOOK_SIGNS,
            ),
            DueWork(
                name="worklist.expire",
                queue="default",
                due=self.running_out,
                run=self.expire,
                signs=store.RUNNING_OUT_SIGNS,
            ),
        )

    def triage_overdue(self, tx: Transaction) -> list[str]:
        """Return the cases whose triage was awaited long enough."""
        before = tx.at - self.settings.triage_deadline
        return store.case_ids_awaiting_triage(tx, before, _AT_ONCE)

    def enqueue_overdue(self, case_id: str) -> None:
        """Queue one such case."""
        with self.database.transaction() as tx:
            commands.enqueue_overdue(tx, case_id, settings=self.settings, act=_act(tx))

    def profiles_to_look_at(self, tx: Transaction) -> list[str]:
        """Return the profiles in whose queue something may move."""
        return store.profiles_to_look_at(tx, tx.at)

    def offer(self, profile: str) -> None:
        """Offer the waiting cases of a profile, one a transaction, until none can move."""
        going_on = True
        while going_on:
            with self.database.transaction() as tx:
                offered = commands.offer_next(tx, profile, settings=self.settings, act=_act(tx))
                going_on = offered is not None

    def running_out(self, tx: Transaction) -> list[str]:
        """Return the cases whose offer or lease has run out."""
        return store.case_ids_running_out(tx, tx.at, _AT_ONCE)

    def expire(self, case_id: str) -> None:
        """Put one such case back into its place."""
        with self.database.transaction() as tx:
            commands.expire(tx, case_id, settings=self.settings, act=_act(tx))


def _act(tx: Transaction) -> Act:
    return Act(at=tx.at, by=ENGINE)
