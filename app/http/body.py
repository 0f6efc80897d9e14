"""Forms: read whole, within a bound, before anybody looks at them."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from app.engine import Engine, WebTerms
from app.http.errors import BodyMalformed, MediaTypeRefused
from app.http.limits import Limits, within

FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 60
_PACE = 1024
"""Bytes a second: the longest report comes in a minute over a link of 9 600 bit/s."""


async def engine_of(request: Request) -> Engine:
    """Return the engine that this application was made for.

    Awaited, not called in a thread: to change threads takes longer than what it does.
    """
    engine: Engine = request.app.state.engine
    return engine


TheEngine = Annotated[Engine, Depends(engine_of)]


async def form(request: Request, engine: TheEngine) -> Mapping[str, str]:
    """Return the fields of a form.

    Raises
    ------
    MediaTypeRefused
        It is not a form.
    BodyTooLarge
        It is longer than any form of ours can be.
    UploadStalled
        Its sender fell silent, or dribbles: whoever fills a form has all of it.
    BodyMalformed
        It is not UTF-8, was cut short, or has a field twice or far too many of them.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
        raise MediaTypeRefused(f"this address takes {FORM} only")
    body = bytearray()
    try:
        async for chunk in within(request.stream(), _limits(engine.web)):
            body += chunk
    except ClientDisconnect as gone:
        raise BodyMalformed("the form was cut short") from gone
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise BodyMalformed("the form cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BodyMalformed("a field of the form is given twice")
    return fields


Fields = Annotated[Mapping[str, str], Depends(form)]


def _limits(web: WebTerms) -> Limits:
    most = web.form_bytes
    return Limits(most, most, web.form_idle, grace=web.form_idle, pace=_PACE)
