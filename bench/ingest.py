"""Durable C-STORE beside Orthanc, and beside DCMTK, which neither flushes nor indexes."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.instances import CT, DX, SMALL, Kind, made, renewed
from bench.row import Demand, Row, bounded, compared
from bench.servers import (
    Engine,
    Receiver,
    engine,
    orthanc_receiver,
    sent,
    storescp_receiver,
)

ROUNDS = 5
CPU_S_PER_GB = 1.5
MEMORY_MB, MEMORY_MB_PER_ASSOCIATION = 64, 8
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
    cpu_s_per_gb: list[float] = field(default_factory=list)


def measure(scratch: Path) -> Iterator[Row]:
    """Yield the rows of the work of receiving."""
    with ExitStack() as stack:
        ours = stack.enter_context(engine(scratch / "ingest", _SETTINGS))
        receivers = [
            ours.receiver,
            stack.enter_context(orthanc_receiver()),
            stack.enter_context(storescp_receiver()),
        ]
        for work in WORKS:
            yield from _rows(work, _measured(work, ours, receivers, scratch))
        most = max(work.associations for work in WORKS)
        yield bounded(
            f"peak memory of all of telerad up, {most} associations",
            [ours.memory_mb("VmHWM")],
            MEMORY_MB + MEMORY_MB_PER_ASSOCIATION * most,
            unit="MB",
        )


def _measured(work: Work, ours: Engine, receivers: Sequence[Receiver], scratch: Path) -> _Measured:
    """Send in turn to each, another one first in each round."""
    measured = _Measured({receiver.name: [] for receiver in receivers})
    source = made(work.kind, scratch / "sets")
    for number in range(ROUNDS):
        target = scratch / "to-send"
        size = renewed(source, target, parts=work.associations)
        folders = sorted(target.iterdir())
        turn = number % len(receivers)
        for receiver in (*receivers[turn:], *receivers[:turn]):
            before = ours.cpu_s()
            took = sent(folders, receiver)
            measured.mb_per_s[receiver.name].append(size / took / 1e6)
            if receiver is ours.receiver:
                measured.cpu_s_per_gb.append((ours.cpu_s() - before) / size * 1e9)
            sys.stderr.write(f"  {receiver.name}: {size / took / 1e6:.0f} MB/s\n")
        shutil.rmtree(target)
        os.sync()
    return measured


def _rows(work: Work, measured: _Measured) -> Iterator[Row]:
    ours, orthanc, bound = measured.mb_per_s.values()
    _, orthanc_name, bound_name = measured.mb_per_s
    yield compared(
        work.case,
        ours,
        orthanc_name,
        orthanc,
        unit="MB/s",
        demand=Demand("least", work.beside_orthanc),
    )
    yield compared(
        work.case,
        ours,
        bound_name,
        bound,
        unit="MB/s",
        demand=Demand("least", work.beside_bound) if work.beside_bound else None,
    )
    yield bounded(
        f"processor time, {work.case.removeprefix('C-STORE ')}",
        measured.cpu_s_per_gb,
        CPU_S_PER_GB,
        unit="s/GB",
    )
