"""A resource that can be read in parts: one range of bytes, by the rules of HTTP.

References
----------
RFC 9110 sections 13.1.2 (If-None-Match), 13.1.5 (If-Range) and 14 (range requests), DICOM PS3.18
section 8.4.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.http.read_ahead import read_ahead

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def ranged(
    request: Request,
    size: int,
    read: Callable[[int, int], bytes],
    *,
    whole: Callable[[], Iterable[bytes]] | None = None,
    media_type: str,
    tag: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Give a resource, or the range of it that is asked for.

    More ranges than one are answered with the whole, as RFC 9110 section 14.2 allows.

    Parameters
    ----------
    read
        Returns (start, length) bytes of the resource.
    whole
        Yields the resource; better than one large `read` where it is verified on the way.
    tag
        Names these very bytes, for If-None-Match and If-Range.
    """
    told = {"Accept-Ranges": "bytes", "ETag": f'"{tag}"', **(headers or {})}
    if _is_held(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=told)
    asked = _asked(request, tag)
    if asked is None:
        told["Content-Length"] = str(size)
        body = whole() if whole is not None else (read(0, size),)
        return StreamingResponse(read_ahead(iter(body)), headers=told, media_type=media_type)
    start, end = _bounds(asked, size)
    if start >= end:
        told["Content-Range"] = f"bytes */{size}"
        return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=told)
    told["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    told["Content-Length"] = str(end - start)
    pieces = _pieces(read, start, end)
    return StreamingResponse(
        read_ahead(iter(pieces)), HTTPStatus.PARTIAL_CONTENT, headers=told, media_type=media_type
    )


_PIECE = 4 << 20


def _pieces(read: Callable[[int, int], bytes], start: int, end: int) -> Iterable[bytes]:
    for at in range(start, end, _PIECE):
        yield read(at, min(_PIECE, end - at))


def _is_held(request: Request, tag: str) -> bool:
    """Say whether the client has these bytes already; weak tags are compared as any others."""
    held = request.headers.get("if-none-match", "").split(",")
    return any(each.strip().removeprefix("W/") in {f'"{tag}"', "*"} for each in held)


def _asked(request: Request, tag: str) -> tuple[str, str] | None:
    if request.headers.get("if-range", f'"{tag}"') != f'"{tag}"':
        return None
    found = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    return found[1], found[2]


def _bounds(asked: tuple[str, str], size: int) -> tuple[int, int]:
    """Return (start, end) of a range; start is not before end where nothing satisfies it."""
    first, last = asked
    if not first:
        return (size - min(int(last), size), size) if int(last) else (size, size)
    if last and int(last) < int(first):
        return size, size
    return int(first), min(int(last) + 1, size) if last else size
