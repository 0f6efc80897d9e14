"""Errors as HTTP answers: RFC 9457 for programs, a readable page for people.

The tables here are the only place where an error of the engine becomes a status of HTTP.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from app.http.errors import (
    BodyMalformed,
    BodyTooLarge,
    MediaTypeRefused,
    NoRoom,
    NotAcceptable,
    UploadStalled,
)
from app.identity.errors import (
    AccessRefused,
    FormForged,
    NotSignedIn,
    SignInRefused,
    TokenRefused,
    TooManyAttempts,
)
from app.pages.rendering import render
from kernel.errors import Corrupt, EngineError, Misconfigured, NotFound, Refused, Transient
from storage.engine import DatabaseFull
from storage.journal import JournalFull

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 5
_PROGRAM_PATHS = ("/dicomweb", "/ws", "/fhir", "/metrics", "/api")

_NAMED: dict[type, HTTPStatus] = {
    NotSignedIn: HTTPStatus.UNAUTHORIZED,
    SignInRefused: HTTPStatus.UNAUTHORIZED,
    TokenRefused: HTTPStatus.UNAUTHORIZED,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    AccessRefused: HTTPStatus.FORBIDDEN,
    FormForged: HTTPStatus.FORBIDDEN,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BodyMalformed: HTTPStatus.BAD_REQUEST,
    MediaTypeRefused: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    JournalFull: HTTPStatus.INSUFFICIENT_STORAGE,
    DatabaseFull: HTTPStatus.INSUFFICIENT_STORAGE,
    NoRoom: HTTPStatus.INSUFFICIENT_STORAGE,
    UploadStalled: HTTPStatus.REQUEST_TIMEOUT,
}
_BRANCHES: tuple[tuple[type[EngineError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Refused, HTTPStatus.CONFLICT),
    (Transient, HTTPStatus.SERVICE_UNAVAILABLE),
    (Corrupt, HTTPStatus.INTERNAL_SERVER_ERROR),
    (Misconfigured, HTTPStatus.INTERNAL_SERVER_ERROR),
)
# What a person typed and can type otherwise, as opposed to a state that has moved on.
_UNPROCESSABLE = frozenset(
    {
        "reporting.section_empty",
        "reporting.section_refused",
        "reporting.text_too_long",
        "reporting.unprintable_character",
        "reporting.wrong_passphrase",
        "worklist.request_incomplete",
        "dicom_node.unreadable",
        "dicom_node.picture_refused",
    }
)
_FORBIDDEN = frozenset(
    {
        "retention.not_the_owner",
        "worklist.not_holder",
        "worklist.not_offered_to_reader",
        "workitems.performer_refused",
        "workitems.receiver_foreign",
    }
)
# PS3.18 chapter 11: a request that is wrong in itself, whatever the workitem is.
_BAD = frozenset(
    {
        "dicom_node.data_set_unreadable",
        "dicom_node.query_too_wide",
        "retention.reason_unknown",
        "workitems.action_inappropriate",
        "workitems.attribute_fixed",
        "workitems.attribute_missing",
        "workitems.malformed",
        "workitems.not_scheduled",
        "workitems.receiver_unknown",
        "workitems.transaction_missing",
        "workitems.transaction_wrong",
        "workitems.value_invalid",
        "workitems.value_missing",
    }
)
# FHIR R4 value set issue-type.
_ISSUES = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.UNAUTHORIZED: "login",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.BAD_REQUEST: "invalid",
    HTTPStatus.SERVICE_UNAVAILABLE: "transient",
    HTTPStatus.INTERNAL_SERVER_ERROR: "exception",
}

log = structlog.get_logger()


def status_of(error: EngineError) -> HTTPStatus:
    """Return the HTTP status of an error of the engine."""
    for kind in type(error).__mro__:
        if kind in _NAMED:
            return _NAMED[kind]
    if error.code in _UNPROCESSABLE:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if error.code in _BAD:
        return HTTPStatus.BAD_REQUEST
    if error.code in _FORBIDDEN:
        return HTTPStatus.FORBIDDEN
    return next(
        (status for branch, status in _BRANCHES if isinstance(error, branch)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def answer(request: Request, error: EngineError) -> Response:
    """Return the answer for an error of the engine, for a program or for a person."""
    status = status_of(error)
    if isinstance(error, Corrupt | Misconfigured):
        log.error("http.failed", code=error.code, path=_route(request))
    if isinstance(error, NotSignedIn) and wants_page(request) and request.method == "GET":
        return RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    headers = _headers(request, error, status)
    if wants_page(request):
        return problem_page(request, status, error.sentence, error.code, error.clause, headers)
    return _for_program(request, status, error.code, error.sentence, error.clause, headers)


def problem_page(
    request: Request,
    status: HTTPStatus,
    sentence: str,
    code: str,
    clause: str | None,
    headers: dict[str, str],
) -> Response:
    """Return a page that says what is wrong in one sentence, or a fragment for a part of a page."""
    template = "problem.html"
    if "hx-request" in request.headers:
        template = "_problem.html"
        headers = {**headers, "HX-Retarget": "#problem", "HX-Reswap": "innerHTML"}
    return render(
        request,
        template,
        {"sentence": sentence, "code": code, "clause": clause, "phrase": status.phrase},
        status=status,
        headers=headers,
    )


def wants_page(request: Request) -> bool:
    """Say whether a person in a browser asks, rather than a program."""
    if request.url.path.startswith(_PROGRAM_PATHS):
        return False
    return "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers


def install(app: FastAPI) -> None:
    """Have `app` answer every failure in this way."""
    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        EngineError: _engine_error,
        HTTPException: _http_exception,
        RequestValidationError: _invalid,
        Exception: _unforeseen,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _engine_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError)
    return answer(request, error)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    sentences = {
        HTTPStatus.NOT_FOUND: "there is nothing at this address",
        HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take this method",
    }
    sentence = sentences.get(status, status.phrase.lower())
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return _plain(request, status, "http.refused", sentence, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods that an address takes, at whichever of the routes to it."""
    routes = [route for route in request.app.router.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    taken = {method for route in found for method in route.methods or ()}
    return sorted(taken | {"HEAD"} if "GET" in taken else taken)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    where = sorted({".".join(str(part) for part in item["loc"][1:]) for item in error.errors()})
    sentence = f"missing or not understood: {', '.join(where)}"
    return _plain(request, HTTPStatus.UNPROCESSABLE_ENTITY, "http.invalid", sentence, {})


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.exception("http.fault", path=_route(request), exc_info=error)
    sentence = "the engine failed in a way that nobody foresaw; it is in the log"
    return _plain(request, HTTPStatus.INTERNAL_SERVER_ERROR, "http.fault", sentence, {})


def _plain(
    request: Request, status: HTTPStatus, code: str, sentence: str, headers: dict[str, str]
) -> Response:
    if wants_page(request):
        return problem_page(request, status, sentence, code, None, headers)
    return _for_program(request, status, code, sentence, None, headers)


def _for_program(
    request: Request,
    status: HTTPStatus,
    code: str,
    sentence: str,
    clause: str | None,
    headers: dict[str, str],
) -> Response:
    if request.url.path.startswith("/fhir"):
        outcome = {
            "resourceType": "OperationOutcome",
            "issue": [
                {
                    "severity": "error",
                    "code": _ISSUES.get(status, "processing"),
                    "details": {"text": code},
                    "diagnostics": sentence,
                }
            ],
        }
        return JSONResponse(outcome, status, headers, "application/fhir+json")
    return JSONResponse(_problem(status, code, sentence, clause), status, headers, PROBLEM_JSON)


def _problem(
    status: HTTPStatus, code: str, sentence: str, clause: str | None
) -> dict[str, str | int]:
    """Return the members of RFC 9457 section 3.1, with the constant code of the error."""
    problem: dict[str, str | int] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": sentence,
        "code": code,
    }
    return problem if clause is None else {**problem, "clause": clause}


def _headers(request: Request, error: EngineError, status: HTTPStatus) -> dict[str, str]:
    if isinstance(error, TooManyAttempts):
        return {"Retry-After": str(max(1, round(error.wait.total_seconds())))}
    if isinstance(error, Transient):
        return {"Retry-After": str(RETRY_AFTER_S)}
    if status is HTTPStatus.UNAUTHORIZED and request.url.path.startswith(_PROGRAM_PATHS):
        return {"WWW-Authenticate": 'Bearer realm="telerad"'}
    return {}


def _route(request: Request) -> str:
    """Return the pattern of the address, which holds no ids, rather than the address."""
    route = request.scope.get("route")
    return str(getattr(route, "path", "unmatched"))
