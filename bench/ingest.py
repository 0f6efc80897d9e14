"""Durable C-STORE beside Orthanc, and beside DCMTK, which neither flushes nor indexes."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread

from bench.asker import Finder
from bench.instances import CT, DX, MULTIFRAME, SMALL, Kind, made, renewed
from bench.retrieving import Place, got
from bench.row import Demand, Row, bounded, compared
from bench.servers import (
    Engine,
    Receiver,
    discarding_receiver,
    engine,
    orthanc_receiver,
    rest,
    sent,
    storescp_receiver,
)

ROUNDS = 5
CPU_S_PER_GB = 1.5
BESIDE_NAGLE, BESIDE_IGNORE = 3.0, 0.95
MEMORY_ROUNDS = 2
MEMORY_MB, MEMORY_MB_PER_ASSOCIATION = 64, 8
MEMORY_WORKS = (
    ("1 association", CT, 1, False),
    ("8 associations", CT, 8, False),
    ("a multiframe of 1 GB", MULTIFRAME, 1, False),
    ("stored, found and retrieved", CT, 1, True),
)
# No study is packed while another server is measured: the settling waits until all is over.
_SETTINGS = {"TELERAD_DICOM__QUIET_S": "3600"}


@dataclass(frozen=True, slots=True)
class Work:
    """What is sent: a set over so many associations, and what is demanded of us."""

    case: str
    kind: Kind
    associations: int
    beside_orthanc: float
    beside_bound: float | None = None


WORKS = (
    Work("C-STORE 400 CT slices, 1 association", CT, 1, 2.0, 0.4),
    Work("C-STORE 400 CT slices, 4 associations", CT, 4, 2.0),
    Work("C-STORE 400 CT slices, 8 associations", CT, 8, 2.0),
    Work("C-STORE 500 small studies, 4 associations", SMALL, 4, 2.5),
    Work("C-STORE 40 DX of 10 MB, 1 association", DX, 1, 3.0),
)


@dataclass
class _Measured:
    mb_per_s: dict[str, list[float]] = field(default_factory=dict)
    cpu_s_per_gb: dict[str, list[float]] = field(default_factory=dict)


def measure(scratch: Path) -> Iterator[Row]:
    """Yield the rows of the work of receiving."""
    with ExitStack() as stack:
        ours = stack.enter_context(engine(scratch / "ingest", _SETTINGS))
        orthanc = stack.enter_context(orthanc_receiver())
        receivers = [ours.receiver, orthanc, stack.enter_context(storescp_receiver())]
        for work in WORKS:
            yield from _rows(work, _measured(work, receivers, scratch))
        yield from _with_nagle(ours.receiver, orthanc, scratch)
        yield from _memory("the node of telerad up", ours, scratch)
    with engine(scratch / "node", _SETTINGS, alone=True) as node:
        yield from _memory("telerad listen", node, scratch)
    with discarding_receiver() as dropping, storescp_receiver("--ignore") as ignoring:
        yield from _dropped(dropping, ignoring, scratch)


def _with_nagle(ours: Receiver, orthanc: Receiver, scratch: Path) -> Iterator[Row]:
    """Measure a sender that delays its small segments: what is lost is time, not processor."""
    work = Work("C-STORE 400 CT slices, sender with Nagle on", CT, 1, BESIDE_NAGLE)
    found = _measured(work, [ours, orthanc], scratch, nagle=True).mb_per_s
    demand = Demand("least", BESIDE_NAGLE)
    mine, theirs = found[ours.name], found[orthanc.name]
    yield compared(work.case, mine, orthanc.name, theirs, unit="MB/s", demand=demand)


def _dropped(ours: Receiver, theirs: Receiver, scratch: Path) -> Iterator[Row]:
    work = Work("receive and discard 400 CT slices, 1 association", CT, 1, BESIDE_IGNORE)
    found = _measured(work, [ours, theirs], scratch).mb_per_s
    demand = Demand("least", BESIDE_IGNORE)
    yield compared(
        work.case, found[ours.name], theirs.name, found[theirs.name], unit="MB/s", demand=demand
    )


def _memory(whose: str, ours: Engine, scratch: Path) -> Iterator[Row]:
    """Measure the process that takes in; a server is that, and what else runs beside it is not."""
    for what, kind, associations, asks in MEMORY_WORKS:
        peaks, shares = [], []
        for _ in range(MEMORY_ROUNDS):
            ours.begin_peak()
            target = scratch / "to-send"
            renewed(made(kind, scratch / "sets"), target, parts=associations)
            sent(sorted(target.iterdir()), ours.receiver)
            if asks:
                _ask_for(target, ours)
            peaks.append(ours.node_mb("VmHWM"))
            shares.append(ours.share_mb())
            shutil.rmtree(target)
        bound = MEMORY_MB + MEMORY_MB_PER_ASSOCIATION * associations
        yield bounded(f"peak memory of {whose}, {what}", peaks, bound, unit="MB")
        if ours.children():
            yield compared(f"memory of all of telerad up, {what}", shares, whose, peaks, unit="MB")


def _ask_for(sent_from: Path, ours: Engine) -> None:
    """Find the study that was sent, and get it."""
    study_uid = str(dcmread(next(sent_from.glob("*/*.dcm"))).StudyInstanceUID)
    finder = Finder(ours.receiver)
    finder.open()
    if finder.ask({"StudyInstanceUID": study_uid}) != 1:
        raise RuntimeError("the study that was sent is not found")
    finder.close()
    got(Place(ours.receiver, "", {}), study_uid=study_uid)


def _measured(
    work: Work,
    receivers: Sequence[Receiver],
    scratch: Path,
    *,
    nagle: bool = False,
) -> _Measured:
    """Send in turn to each, another one first in each round."""
    names = [receiver.name for receiver in receivers]
    measured = _Measured({name: [] for name in names}, {name: [] for name in names})
    source = made(work.kind, scratch / "sets")
    for number in range(ROUNDS):
        target = scratch / "to-send"
        size = renewed(source, target, parts=work.associations)
        folders = sorted(target.iterdir())
        turn = number % len(receivers)
        for receiver in (*receivers[turn:], *receivers[:turn]):
            rest()
            before = receiver.cpu_s()
            took = sent(folders, receiver, nagle=nagle)
            measured.mb_per_s[receiver.name].append(size / took / 1e6)
            spent = receiver.cpu_s() - before
            measured.cpu_s_per_gb[receiver.name].append(spent / size * 1e9)
            sys.stderr.write(f"  {receiver.name}: {size / took / 1e6:.0f} MB/s\n")
        shutil.rmtree(target)
    return measured


def _rows(work: Work, measured: _Measured) -> Iterator[Row]:
    ours, orthanc, bound = measured.mb_per_s
    speed, spent = measured.mb_per_s, measured.cpu_s_per_gb
    for name, least in ((orthanc, work.beside_orthanc), (bound, work.beside_bound)):
        demand = None if least is None else Demand("least", least)
        yield compared(work.case, speed[ours], name, speed[name], unit="MB/s", demand=demand)
    case = f"processor time, {work.case.removeprefix('C-STORE ')}"
    yield bounded(case, spent[ours], CPU_S_PER_GB, unit="s/GB")
    for name in (orthanc, bound):
        yield compared(case, spent[ours], name, spent[name], unit="s/GB")
