"""Numbers for the people who run the engine; no patient, person or case is ever a label."""

from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from app.engine import Engine
from app.http.access import WatchesEngine
from kernel.errors import EngineError
from storage import outbox, scrub
from worklist import queries

router = APIRouter()
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Metrics:
    """The numbers of one application, in a registry of its own."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._answers = Counter(
            "telerad_http_answers",
            "Answers by pattern of the address",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "telerad_http_seconds",
            "Time to the whole answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_Backlog(engine))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return everything in the format of Prometheus."""
        return generate_latest(self.registry)


class _Backlog(Collector):
    """What waits, asked from the database at each scrape; silent while it does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector`."""
        cases = GaugeMetricFamily("telerad_cases", "Cases by state", labels=["state"])
        facts = GaugeMetricFamily("telerad_facts_waiting", "Facts and tellings still to be told")
        parked = GaugeMetricFamily("telerad_tellings_parked", "Tellings that need a person")
        damaged = GaugeMetricFamily("telerad_damages", "Kept things that are not what was stored")
        up = GaugeMetricFamily("telerad_database_up", "Whether the database answers")
        try:
            with self._engine.database.reading() as tx:
                for state, count in queries.count_cases(tx).items():
                    cases.add_metric([state.value], count)
                facts.add_metric([], outbox.waiting(tx))
                parked.add_metric([], len(outbox.parked(tx)))
                damaged.add_metric([], scrub.count_damages(tx))
            up.add_metric([], 1)
        except EngineError:
            up.add_metric([], 0)
        yield from (cases, facts, parked, damaged, up)


@router.get("/metrics", dependencies=[WatchesEngine])
def metrics(request: Request) -> Response:
    """Give the numbers to who watches over the engine."""
    kept: Metrics = request.app.state.metrics
    return Response(kept.text(), media_type=CONTENT_TYPE_LATEST)
