"""Is this process alive, and can this node do its work: for balancers, watchers and people."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from http import HTTPStatus

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.engine import Engine
from app.http.body import TheEngine
from app.http.problems import wants_page
from app.pages.rendering import render
from dicom_node import orthanc_store
from kernel.errors import EngineError
from storage import outbox, scrub, unpacked
from storage.finding import Finding
from storage.reach import reach_of

router = APIRouter(prefix="/health")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Check:
    """One part and how it is; the sentence says what is wrong, without addresses or secrets.

    What is not `vital` is somebody else's: this node does its work without it.
    """

    name: str
    ok: bool
    sentence: str
    vital: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """The node and its parts."""

    ready: bool
    node: str
    version: str
    started_at: datetime
    checks: tuple[Check, ...]


def health_of(engine: Engine) -> Health:
    """Try every part that this node cannot do without."""
    parts: dict[str, Callable[[], str]] = {
        "database": lambda: _database(engine),
        "objects": lambda: _objects(engine),
        **{name: _silent(check) for name, check in engine.ready_checks.items()},
    }
    checks = (
        *(_tried(name, part) for name, part in parts.items()),
        *(_tried(name, _silent(part), vital=False) for name, part in engine.other_checks.items()),
        *_orthancs(engine),
        *_kept(engine),
    )
    return Health(
        ready=all(check.ok for check in checks if check.vital),
        node=engine.node_name,
        version=engine.version,
        started_at=engine.started_at,
        checks=checks,
    )


@router.get("/live")
def live() -> Response:
    """Say that the process answers."""
    return JSONResponse({"live": True})


@router.get("/ready")
def ready(engine: TheEngine) -> Response:
    """Say whether this node can do its work."""
    return _json(health_of(engine))


@router.get("")
def health(request: Request, engine: TheEngine) -> Response:
    """Show every part."""
    found = health_of(engine)
    found = replace(found, checks=(*found.checks, *_looked(engine)))
    if wants_page(request):
        return render(request, "health.html", {"health": found}, status=_status(found))
    return _json(found)


def _json(health: Health) -> Response:
    body = {**asdict(health), "live": True, "started_at": health.started_at.isoformat()}
    return JSONResponse(body, _status(health))


def _status(health: Health) -> HTTPStatus:
    return HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE


def _tried(name: str, part: Callable[[], str], *, vital: bool = True) -> Check:
    try:
        return Check(name, True, part(), vital)
    except EngineError as error:
        return Check(name, False, error.sentence, vital)
    except Exception:
        log.exception("health.check_failed", check=name)
        return Check(name, False, "the check itself failed; it is in the log", vital)


def _database(engine: Engine) -> str:
    with engine.database.reading() as tx:
        waiting, parked = outbox.waiting(tx), len(outbox.parked(tx))
    return f"{engine.database.dialect} answers; {waiting} waiting, {parked} parked"


def _kept(engine: Engine) -> list[Check]:
    """Say what was found when all that is kept was re-read; a node with damage still serves."""
    try:
        with engine.database.reading() as tx:
            passes, found = scrub.passes(tx), scrub.damages(tx)
    except EngineError:
        return []
    checks = [Check(f"kept by {held.node}", True, _pass(held), vital=False) for held in passes]
    return checks + [
        Check(f"kept by {each.node}", False, f"{each.sentence}, found {each.found_at:%Y-%m-%d}",
              vital=False)
        for each in found
    ]  # fmt: skip


def _looked(engine: Engine) -> Iterable[Check]:
    """Look for what takes a while to count: for who looks here, and for no balancer.

    Why a study cannot be packed is told beside what scrub found; what this host has it serves
    without the packs of others.
    """

    def packing() -> Finding:
        with engine.database.reading() as tx:
            return unpacked.waiting(tx)

    looks: Mapping[str, Callable[[], Finding]] = {
        "packing": packing,
        "packs": lambda: reach_of(engine.database, engine.objects),
    }
    for name, look in looks.items():
        try:
            found = look()
        except EngineError as error:
            yield Check(name, False, error.sentence, vital=False)
        else:
            yield Check(name, found.is_well, found.sentence, vital=False)


def _pass(held: scrub.Pass) -> str:
    whole = f"{held.ended_at:%Y-%m-%d %H:%M} UTC" if held.ended_at else "never yet"
    return f"{held.bytes / 1e6:.0f} MB re-read since {held.began_at:%Y-%m-%d}; wholly: {whole}"


def _objects(engine: Engine) -> str:
    abilities = engine.objects.probe()
    told = {
        "object lock": abilities.object_lock,
        "versioning": abilities.versioning,
        "write-once put": abilities.conditional_put,
    }
    able = ", ".join(name for name, has in told.items() if has) or "nothing beyond put and get"
    return f"{abilities.kind} answers; the store itself can do: {able}"


def _orthancs(engine: Engine) -> Iterable[Check]:
    """Tell how far each Orthanc was followed: last change, backlog, last trouble and when."""
    try:
        with engine.database.reading() as tx:
            found = orthanc_store.listed(tx)
    except EngineError:
        return  # the database's own line says so
    for orthanc, far in found:
        seen = f"at {_utc(far.seen_at)}" if far.seen_at else "never"
        told = [f"change {far.last_change}, {far.backlog} to go, last seen {seen}"]
        if far.trouble:
            told.append(f"{_utc(far.trouble.at)}: {far.trouble.sentence}")
        if far.started_over_at:
            told.append(f"begun anew at {_utc(far.started_over_at)}: {far.started_over_why}")
        yield Check(f"orthanc {orthanc.name}", not far.failures, "; ".join(told), vital=False)


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _silent(check: Callable[[], str | None]) -> Callable[[], str]:
    def run() -> str:
        return check() or "well"

    return run
