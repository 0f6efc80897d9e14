"""Celery, where a broker is set: workers on any host do what a relay hands over.

Only numbers and ids travel.  Retrying belongs to the outbox row and to the row of the work;
Celery's own retries are off.  Queues are RabbitMQ quorum queues, acknowledged late, so that what
a killed worker held is given to another one at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from celery import Celery
from kombu.entity import Exchange
from kombu.entity import Queue as KombuQueue
from kombu.exceptions import OperationalError

from app.relay import run, tell
from kernel.clock import monotonic_s
from kernel.errors import Transient
from storage.engine import Database
from storage.outbox import Telling
from storage.work import DueWork, Reactions

QUEUES = ("default", "ai", "outward")
RESEND_AFTER_S = 10.0

log = structlog.get_logger()


class BrokerUnavailable(Transient):
    """The broker does not take messages; the database still knows what is due."""

    code = "relay.broker_unavailable"


def celery_app(broker_url: str) -> Celery:
    """Return the Celery app, settings only; `serve` adds the tasks a worker does."""
    app = Celery("telerad", broker=broker_url)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_default_queue="default",
        task_queues=[
            KombuQueue(  # type: ignore[no-untyped-call]
                name,
                Exchange("telerad", type="topic"),  # type: ignore[no-untyped-call]
                routing_key=name,
                durable=True,
                queue_arguments={"x-queue-type": "quorum"},
            )
            for name in QUEUES
        ],
        worker_detect_quorum_queues=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"confirm_publish": True},
        # One attempt to publish: the relay finds the row again and owns the retry.
        task_publish_retry=False,
    )
    return app


def serve(
    app: Celery, database: Database, reactions: Reactions, due_work: Sequence[DueWork]
) -> None:
    """Register what a worker can do."""
    by_name: Mapping[str, DueWork] = {work.name: work for work in due_work}

    @app.task(name="telerad.tell")  # type: ignore[untyped-decorator]
    def _tell(fact_seq: int, consumer: str) -> None:
        tell(database, reactions, Telling(fact_seq, consumer))

    @app.task(name="telerad.work")  # type: ignore[untyped-decorator]
    def _work(name: str, id: str) -> None:
        run(by_name[name], id)


class ToCelery:
    """Hands tellings and due work to the broker."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._sent: dict[tuple[str, str], float] = {}

    def tell(self, telling: Telling) -> None:
        """See `app.relay.Dispatch.tell`; a lost message is sent again when its lease runs out."""
        self._send("telerad.tell", (telling.fact_seq, telling.consumer), "default")

    def start(self, work: DueWork, id: str) -> bool:
        """See `app.relay.Dispatch.start`; what is still due some time later is sent again."""
        now, key = monotonic_s(), (work.name, id)
        if now - self._sent.get(key, -RESEND_AFTER_S) < RESEND_AFTER_S:
            return False
        self._send("telerad.work", (work.name, id), work.queue)
        self._sent = {k: at for k, at in self._sent.items() if now - at < RESEND_AFTER_S}
        self._sent[key] = now
        return True

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()

    def _send(self, task: str, arguments: tuple[Any, ...], queue: str) -> None:
        try:
            self._app.send_task(task, args=arguments, queue=queue)
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(
                f"the broker takes no messages: {type(error).__name__}"
            ) from error
