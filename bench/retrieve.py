"""Retrieving beside Orthanc: C-MOVE, C-GET and DICOMweb of the same studies from both."""

import gc
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from bench.instances import CT, SERIES, Kind, made, multiframe, renewed
from bench.retrieving import Place, fetched, got, moved
from bench.row import Demand, Row, bounded, compared
from bench.servers import CALLER, Engine, Receiver, engine, sent, storescp_receiver, telerad
from tests.services.orthanc import orthanc

ROUNDS = 7
MULTIFRAME_BYTES = 1 << 30
MEMORY_MB, MEMORY_MB_PER_ASSOCIATION = 64, 8
METADATA_MS, LONG_METADATA_MS, FRAME_MS = 25, 150, 10
_SETTINGS = {"TELERAD_DICOM__QUIET_S": "1"}
_PREPARED_WITHIN_S = 120
_UNPREPARED = (
    "SELECT count(*) FROM instances WHERE pack_key IS NULL",
    "SELECT count(*) FROM studies WHERE unsettled",
    "SELECT count(*) FROM metadata_due",
)
_JSON = {"Accept": "application/dicom+json"}
_GZIP = {**_JSON, "Accept-Encoding": "gzip"}
_INSTANCES = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
_FRAME = {"Accept": 'multipart/related; type="application/octet-stream"'}


@dataclass(frozen=True, slots=True)
class Held:
    """A study that both archives hold: one series."""

    uid: str
    size: int
    instances: int

    @property
    def series(self) -> str:
        """The path of its series."""
        return f"/studies/{self.uid}/series/{self.uid}.1"


def measure(scratch: Path) -> Iterator[Row]:
    """Yield the rows of the work of retrieving."""
    with ExitStack() as stack:
        data = scratch / "retrieve"
        sink = stack.enter_context(storescp_receiver("--ignore"))
        told = ("--ae", sink.ae_title, "--host", "127.0.0.1", "--port", str(sink.port))
        telerad("peer", "add", "--data", data, *told)
        token = telerad("token", "add", "--data", data, "--scopes", "dicomweb:read").strip()
        ours = stack.enter_context(engine(data, _SETTINGS))
        other = stack.enter_context(orthanc(listens=True, dicomweb=True))
        other.knows(CALLER, ae_title=CALLER, port=sink.port)  # it serves only whom it knows
        other.knows(sink.ae_title, ae_title=sink.ae_title, port=sink.port)
        assert other.dicom_port is not None
        both = (
            Place(ours.receiver, f"{ours.http}/dicomweb", {"Authorization": f"Bearer {token}"}),
            Place(
                Receiver("Orthanc", other.ae_title, other.dicom_port), f"{other.url}/dicom-web", {}
            ),
        )
        study, long = (_stored(kind, both, scratch) for kind in (CT, SERIES))
        _wait_until_prepared(data)
        yield from _rates(both, study, sink)
        yield from _times(both, study, long)
        yield from _large(ours, both[0], sink, scratch, data)


def _stored(kind: Kind, both: Sequence[Place], scratch: Path) -> Held:
    """Store one set with both archives."""
    target = scratch / "to-send"
    size = renewed(made(kind, scratch / "sets"), target, parts=1)
    for place in both:
        sent([target / "0"], place.receiver)
    uid = _study_of(next((target / "0").iterdir()))
    shutil.rmtree(target)
    return Held(uid, size, kind.images)


def _study_of(path: Path) -> str:
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def _wait_until_prepared(data: Path) -> None:
    """Wait until what is done once a study is complete is done: pack and metadata."""
    deadline = monotonic() + _PREPARED_WITHIN_S
    while monotonic() < deadline:
        if not _unprepared(data):
            return
        sleep(0.2)
    sys.stderr.write(
        "  packs and metadata were not made in time: what follows is measured beside that\n"
    )


def _unprepared(data: Path) -> int:
    """Return how much of what is stored is not in a pack, complete, or has no metadata yet."""
    with closing(sqlite3.connect(f"file:{data / 'telerad.db'}?mode=ro", uri=True)) as database:
        counts = [database.execute(query).fetchone()[0] for query in _UNPREPARED]
    return sum(counts)


def _rates(both: Sequence[Place], study: Held, sink: Receiver) -> Iterator[Row]:
    works: Sequence[tuple[str, Callable[[Place], float], float]] = (
        ("C-MOVE 400 CT slices", partial(moved, study_uid=study.uid, to=sink), 1.5),
        ("C-GET 400 CT slices", partial(got, study_uid=study.uid), 1.5),
        (
            "WADO-RS 400 CT slices",
            partial(fetched, path=f"/studies/{study.uid}", headers=_INSTANCES),
            1.0,
        ),
    )
    for case, work, least in works:
        times = _in_turn(case, both, work)
        rates = [[study.size / took / 1e6 for took in series] for series in times]
        yield compared(
            case, rates[0], both[1].receiver.name, rates[1], unit="MB/s",
            demand=Demand("least", least),
        )  # fmt: skip


def _times(both: Sequence[Place], study: Held, long: Held) -> Iterator[Row]:
    frame = f"{study.series}/instances/{study.uid}.1.200/frames/1"
    few, many = (f"{each.series}/metadata" for each in (study, long))
    works = (
        ("series metadata of 400, gzip", few, _GZIP, METADATA_MS),
        ("series metadata of 400, plain", few, _JSON, METADATA_MS),
        ("series metadata of 4 000, gzip", many, _GZIP, LONG_METADATA_MS),
        ("series metadata of 4 000, plain", many, _JSON, LONG_METADATA_MS),
        ("WADO-RS, one frame", frame, _FRAME, FRAME_MS),
    )
    for case, path, headers, most in works:
        times = _in_turn(case, both, partial(fetched, path=path, headers=headers))
        ours, theirs = ([took * 1000 for took in series] for series in times)
        yield compared(case, ours, both[1].receiver.name, theirs, unit="ms")
        yield bounded(case, ours, most, unit="ms")


def _in_turn(case: str, both: Sequence[Place], work: Callable[[Place], float]) -> list[list[float]]:
    """Return the seconds of each, another one first in each round."""
    times: list[list[float]] = [[] for _ in both]
    for number in range(ROUNDS):
        for which in (0, 1) if number % 2 else (1, 0):
            gc.collect()
            times[which].append(work(both[which]))
            sys.stderr.write(f"  {case}: {both[which].receiver.name} {times[which][-1]:.3f} s\n")
    return times


def _large(ours: Engine, place: Place, sink: Receiver, scratch: Path, data: Path) -> Iterator[Row]:
    """Yield what memory grows by while one instance of a gigabyte goes out each way."""
    folder = scratch / "large"
    uid = multiframe(folder / "large.dcm", MULTIFRAME_BYTES)
    sent([folder], place.receiver)
    shutil.rmtree(folder)
    _wait_until_prepared(data)
    path = f"/studies/{uid}"
    ways: Sequence[tuple[str, Callable[[], float]]] = (
        ("C-MOVE", lambda: moved(place, study_uid=uid, to=sink)),
        ("C-GET", lambda: got(place, study_uid=uid)),
        ("WADO-RS", lambda: fetched(place, path=path, headers=_INSTANCES)),
    )
    for name, way in ways:
        before = ours.begin_peak()
        way()
        grown = ours.memory_mb("VmHWM") - before
        most = MEMORY_MB + MEMORY_MB_PER_ASSOCIATION
        yield bounded(f"memory for 1 GB out, {name}", [grown], most, unit="MB")
