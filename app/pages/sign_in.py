"""Signing in and out."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from app.engine import Engine
from app.http.access import (
    FORM_TOKEN,
    CheckedForm,
    MaybeSignedIn,
    SignedIn,
    cookie_name,
    session_token,
)
from app.http.body import Fields, TheEngine
from app.http.problems import status_of
from app.identity import commands, secret
from app.identity.errors import FormForged, SignInRefused, TooManyAttempts
from app.identity.password import fits
from app.pages.rendering import render

router = APIRouter()
_COOKIE = "telerad_sign_in"
_MAX_LOGIN = 120
# Where to go after signing in: a page of ours, never another site.
_OURS = re.compile(r"/(queue|desk|cases/[0-9a-f-]{36}(/read)?)")
_FROM_OURSELVES = frozenset({"", "same-origin", "none"})


@dataclass(frozen=True, slots=True)
class SignInPage:
    """What the page shows: the login that was typed before, and why it was refused."""

    login: str = ""
    alert: str = ""
    then: str = "/queue"


@router.get("/sign-in")
def sign_in_page(request: Request, engine: TheEngine, visitor: MaybeSignedIn) -> Response:
    """Show the form; whoever is signed in already goes on to the queue."""
    if visitor is not None:
        return RedirectResponse("/queue", HTTPStatus.SEE_OTHER)
    return _form_page(request, engine, SignInPage(then=_safe(request.query_params.get("then"))))


def own_form(request: Request, fields: Fields) -> Fields:
    """Return the form if our own page, in this browser, has sent it.

    Raises
    ------
    FormForged
        Another site sent it, to sign somebody in under a login of its choice.
    """
    cookie = request.cookies.get(_COOKIE, "")
    if request.headers.get("sec-fetch-site", "") not in _FROM_OURSELVES:
        raise FormForged("the form was sent by another site")
    if not cookie or not secret.same(fields.get(FORM_TOKEN, ""), secret.form_token(cookie)):
        raise FormForged("the form is too old; load the page again")
    return fields


@router.post("/sign-in")
def sign_in(
    request: Request, engine: TheEngine, fields: Annotated[Fields, Depends(own_form)]
) -> Response:
    """Start a session if login and password fit together."""
    then = _safe(fields.get("then"))
    login = fields.get("login", "")[:_MAX_LOGIN]
    try:
        token = _signed_in(request, engine, login, fields.get("password", ""))
    except (SignInRefused, TooManyAttempts) as refusal:
        page = SignInPage(login, f"{refusal.sentence[0].upper()}{refusal.sentence[1:]}.", then)
        return _form_page(request, engine, page, status_of(refusal))
    answer = RedirectResponse(then, HTTPStatus.SEE_OTHER)
    _set_cookie(answer, engine, cookie_name(engine), token)
    answer.delete_cookie(_COOKIE)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, engine: TheEngine, visitor: SignedIn, form: CheckedForm) -> Response:
    """End the session."""
    token = session_token(request, engine)
    if token:
        with engine.database.transaction() as tx:
            commands.end_session(tx, token, visitor.person)
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(cookie_name(engine))
    # What this browser keeps of our pages goes with the session.
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def _signed_in(request: Request, engine: Engine, login: str, password: str) -> str:
    """Try the password outside of any transaction, for it takes long; return a session token."""
    source = request.client.host if request.client else "unknown"
    with engine.database.reading() as tx:
        credentials = commands.require_attempt_allowed(
            tx, login=login, source=source, limits=engine.web.sign_in_limits
        )
    fitted = fits(password, credentials.password_hash if credentials else None)
    with engine.database.transaction() as tx:
        try:
            person = commands.require_fit(credentials, fitted)
        except SignInRefused as refusal:
            known = credentials.person if credentials else None
            commands.note_failure(tx, login=login, source=source, person=known)
            refused = refusal
        else:
            return commands.start_session(
                tx,
                person,
                source=source,
                replaces=session_token(request, engine),
                terms=engine.web.sessions,
            )
    raise refused


def _form_page(
    request: Request, engine: Engine, page: SignInPage, status: HTTPStatus = HTTPStatus.OK
) -> Response:
    cookie = request.cookies.get(_COOKIE) or secret.new_token()
    answer = render(
        request,
        "sign_in.html",
        {"page": page, "form_token": secret.form_token(cookie)},
        status=status,
    )
    _set_cookie(answer, engine, _COOKIE, cookie)
    return answer


def _set_cookie(answer: Response, engine: Engine, name: str, value: str) -> None:
    answer.set_cookie(
        name, value, path="/", httponly=True, samesite="lax", secure=engine.web.secure_cookies
    )


def _safe(then: str | None) -> str:
    return then if then and _OURS.fullmatch(then) else "/queue"
