"""C-FIND and QIDO-RS by key, in a small and in a large archive, beside Orthanc."""

import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import perf_counter

from bench.asker import Asker, Finder, Searcher
from bench.census import Study, fill
from bench.resting import recall
from bench.row import Demand, Row, bounded, compared
from bench.servers import CALLER, TELERAD, Receiver, engine
from tests.services.orthanc import Orthanc, orthanc

FEW, MANY = 500, 100_000
ORTHANC_MANY = 10_500
ROUNDS = 5
A_ROUND = 100
P50_MS, P99_MS = 5.0, 20.0
SLOWDOWN = Demand("most", 1.3)
_UPLOADS = 4
_SETTINGS = {"TELERAD_DICOM__QUIET_S": "3600"}
_PROTOCOLS = ("C-FIND", "QIDO-RS")

Keys = Mapping[str, str]


def _keys_of(study: Study) -> dict[str, Keys]:
    """Return the searches that find a study, by what they go by."""
    return {
        "study UID": {"StudyInstanceUID": study.uid},
        "patient id": {"PatientID": study.patient_id},
        "accession number": {"AccessionNumber": study.accession},
        "patient name": {"PatientName": f"{study.family}*"},
        "day and modality": {
            "StudyDate": f"{study.day}-{study.day}",
            "ModalitiesInStudy": study.modality,
        },
    }


_CASES = tuple(_keys_of(Study(0)))
_FOUND = {"patient id": 2, "patient name": 2, "day and modality": 20}


@dataclass
class Server:
    """One server that is asked, by both protocols; `pids` are its processes."""

    name: str
    studies: int
    pids: list[int]
    askers: Mapping[str, Asker]
    p50: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    p99: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def took(self, protocol: str, case: str, times: Sequence[float]) -> None:
        """Keep what the searches of a round took, in ms."""
        cuts = quantiles(times, n=100, method="inclusive")
        self.p50.setdefault((protocol, case), []).append(cuts[49])
        self.p99.setdefault((protocol, case), []).append(cuts[98])
        sys.stderr.write(
            f"  {self.name}, {self.studies} studies: {protocol} by {case}:"
            f" {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms\n"
        )

    def ask_ms(self, protocol: str, case: str) -> float:
        """Ask for one study, anywhere in the archive; return the time until its answer, in ms."""
        keys = _keys_of(Study(secrets.randbelow(self.studies)))[case]
        began = perf_counter()
        found = self.askers[protocol].ask(keys)
        took = (perf_counter() - began) * 1000
        if found != _FOUND.get(case, 1):
            raise RuntimeError(f"{self.name}: {protocol} by {case} found {found}")
        return took


def measure(scratch: Path) -> Iterator[Row]:
    """Yield the rows of all searches; the servers are asked in turn."""
    with ExitStack() as stack:
        few, many = (_ours(stack, scratch, studies) for studies in (FEW, MANY))
        peers = [_orthanc(stack, studies) for studies in (FEW, ORTHANC_MANY)]
        pairs = [[few, many], peers]
        for number in range(ROUNDS + 1):
            for protocol in _PROTOCOLS:
                for case in _CASES:
                    for pair in pairs if number % 2 else reversed(pairs):
                        _round(pair, protocol, case)
        for protocol in _PROTOCOLS:
            for case in _CASES:
                yield from _rows((protocol, case), few, many, peers)


def _round(pair: Sequence[Server], protocol: str, case: str) -> None:
    """Ask a small and a large archive search by search, so that both have the machine alike."""
    times: list[list[float]] = [[] for _ in pair]
    for server in pair:
        recall(server.pids)
        server.askers[protocol].open()
    for _ in range(A_ROUND):
        for server, taken in zip(pair, times, strict=True):
            taken.append(server.ask_ms(protocol, case))
    for server, taken in zip(pair, times, strict=True):
        server.askers[protocol].close()
        server.took(protocol, case, taken)


def _rows(which: tuple[str, str], few: Server, many: Server, peers: list[Server]) -> Iterator[Row]:
    """Yield the rows of one search; the first round, which warms every server, is left out."""
    name = f"{which[0]} by {which[1]}"
    ours = many.p50[which][1:]
    yield bounded(f"{name}, {_thousands(MANY)} studies, p50", ours, P50_MS, unit="ms")
    yield bounded(
        f"{name}, {_thousands(MANY)} studies, p99", many.p99[which][1:], P99_MS, unit="ms"
    )
    yield compared(
        f"{name}, {_thousands(MANY)} studies",
        *(ours, f"{_thousands(FEW)} studies", few.p50[which][1:]),
        unit="ms",
        demand=SLOWDOWN,
    )
    for peer, mine in zip(peers, (few, many), strict=True):
        yield compared(
            f"{name}, {_thousands(mine.studies)} studies",
            mine.p50[which][1:],
            f"Orthanc, {_thousands(peer.studies)} studies",
            peer.p50[which][1:],
            unit="ms",
        )


def _ours(stack: ExitStack, scratch: Path, studies: int) -> Server:
    data = scratch / f"query-{studies}"
    fill(data, studies)
    token = subprocess.run(
        [TELERAD, "token", "add", "--data", data, "--scopes", "dicomweb:read"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    running = stack.enter_context(engine(data, _SETTINGS))
    searcher = Searcher(f"{running.http}/dicomweb", token)
    askers: dict[str, Asker] = {"C-FIND": Finder(running.receiver), "QIDO-RS": searcher}
    return Server("telerad", studies, running.processes(), askers)


def _orthanc(stack: ExitStack, studies: int) -> Server:
    running = stack.enter_context(orthanc(listens=True, dicomweb=True))
    assert running.dicom_port is not None
    assert running.pid is not None
    running.knows("bench", ae_title=CALLER, port=running.dicom_port)
    _upload(running, studies)
    receiver = Receiver("Orthanc", running.ae_title, running.dicom_port)
    searcher = Searcher(f"{running.url}/dicom-web")
    askers: dict[str, Asker] = {"C-FIND": Finder(receiver), "QIDO-RS": searcher}
    return Server("Orthanc", studies, [running.pid], askers)


def _upload(to: Orthanc, studies: int) -> None:
    def one(number: int) -> None:
        for file in Study(number).files():
            to.upload(file)

    with ThreadPoolExecutor(_UPLOADS) as pool:
        for number, _ in enumerate(pool.map(one, range(studies)), 1):
            if number % 1000 == 0:
                sys.stderr.write(f"  Orthanc has {number} studies\n")


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")
