"""QIDO-RS: searching studies, series and instances.

References
----------
DICOM PS3.18 section 10.6.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.engine import Engine
from app.http.access import Caller, ReadsDicom, Visitor, may_see_images
from app.http.body import TheEngine
from app.http.dicom_model import base_of, given_written
from app.http.sight import scope_of
from kernel.ids import is_uid
from storage import audit
from storage.archive import StudyUnknown
from storage.archive_find import Level

if TYPE_CHECKING:
    from app.http.dicom_search import Search
    from dicom_node.query import Found

router = APIRouter(prefix="/dicomweb")
MAX_FILTERED = 500
"""Each costs a look at the cases of the study; people search with keys, programs have tokens."""

_MAX_TOLD = 100
_MORE = '299 telerad "There are additional results that can be requested"'
_UNREAD = (
    '299 telerad "What some series say of themselves cannot be read: '
    'they are given whether it matches or not"'
)


@router.get("/studies")
def search_studies(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Search studies; a person finds those whose images are open to them, and no other."""
    return _search(request, engine, caller, Level.STUDY, {})


@router.get("/series")
def search_series(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Search series of all studies."""
    return _search(request, engine, caller, Level.SERIES, {})


@router.get("/instances")
def search_instances(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Search instances of all studies."""
    return _search(request, engine, caller, Level.IMAGE, {})


@router.get("/studies/{study_uid}/series")
def search_series_of(
    study_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Search series of one study."""
    return _search(request, engine, caller, Level.SERIES, {"StudyInstanceUID": study_uid})


@router.get("/studies/{study_uid}/instances")
def search_instances_of(
    study_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Search instances of one study."""
    return _search(request, engine, caller, Level.IMAGE, {"StudyInstanceUID": study_uid})


@router.get("/studies/{study_uid}/series/{series_uid}/instances")
def search_instances_of_series(
    study_uid: str, series_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Search instances of one series."""
    within = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
    return _search(request, engine, caller, Level.IMAGE, within)


def _search(
    request: Request, engine: Engine, caller: Caller, level: Level, within: Mapping[str, str]
) -> Response:
    from app.http import dicom_answer, dicom_search

    if not all(is_uid(uid) for uid in within.values()):
        raise StudyUnknown("nothing is stored under this address")
    search = dicom_search.parsed(request.query_params.multi_items(), level, within)
    found, more = _found(engine, caller, search)
    _note(engine, caller, level, found)
    base = base_of(request)
    answers = [dicom_answer.written(each, search, base) for each in found]
    unread = any(each.details is None for each in found)
    warnings = [text for text, holds in ((_MORE, more), (_UNREAD, unread)) if holds]
    headers = {"Warning": ", ".join(warnings)} if warnings else {}
    # An empty list rather than 204: CP-2473 brings PS3.18 back to what RFC 9110 says of both.
    return given_written(request, answers, headers)


def _found(engine: Engine, caller: Caller, search: "Search") -> tuple[list["Found"], bool]:
    """Return one page of what matches, and whether there is more behind it."""
    from dicom_node.finding import Finder

    # Nothing of the finder that answers associations is asked for but its matches.
    finder = Finder(engine.archive, ae_title="", views={}, max_matches=0)
    query, wanted = search.query(), search.limit + 1
    if caller.visitor is None:
        found = finder.matches(query, scope_of(engine, caller), offset=search.offset, limit=wanted)
        page = list(islice(found, wanted))
    else:
        found = _seen(engine, caller.visitor, finder.matches(query, None))
        page = list(islice(found, search.offset, search.offset + wanted))
    return page[: search.limit], len(page) > search.limit


def _seen(engine: Engine, visitor: Visitor, matches: Iterator["Found"]) -> Iterator["Found"]:
    """Leave out what is not open to a person; look at `MAX_FILTERED` studies and no more."""
    allowed: dict[str, bool] = {}
    for each in matches:
        study_uid = each.row["study_uid"]
        if study_uid not in allowed:
            if len(allowed) == MAX_FILTERED:
                return
            with engine.database.reading() as tx:
                allowed[study_uid] = may_see_images(tx, engine, visitor, study_uid)
        if allowed[study_uid]:
            yield each


def _note(engine: Engine, caller: Caller, level: Level, found: Sequence["Found"]) -> None:
    studies = sorted({each.row["study_uid"] for each in found})
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="studies.searched",
            subject="studies",
            detail={
                "level": level.value,
                "found": list(studies[:_MAX_TOLD]),
                "count": len(found),
            },
        )
