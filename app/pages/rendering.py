"""Templates and what every page shows around its own content."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.pages import moments
from app.pages.words import FILTERS
from kernel.digest import sha256_of

if TYPE_CHECKING:
    from app.http.access import Visitor

TEMPLATES = Path(__file__).parent / "templates"
WEB = Path(__file__).parent.parent / "web"
_UTC = moments.zone_of("UTC")


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """Addresses of scripts and styles; a changed file has a changed address."""

    styles: tuple[str, ...]
    scripts: tuple[str, ...]


def static_files(web: Path = WEB) -> StaticFiles:
    """Return what there is: the libraries may not have been fetched, our own files are here."""
    return StaticFiles(
        styles=_present(web, ("static/pico.min.css", "telerad.css")),
        scripts=_present(web, ("static/htmx.min.js", "telerad.js")),
    )


def environment() -> Environment:
    """Return the template environment: everything escaped, nothing undefined passes."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    made.filters.update(
        machine=moments.machine, moment=moments.moment, moment_s=moments.moment_s,
        left=moments.left, stretch=moments.stretch,
    )  # fmt: skip
    return made


def render(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a page or a fragment of one."""
    state = request.app.state
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    engine = state.engine
    zone: ZoneInfo = visitor.zone if visitor else _UTC
    now: datetime = engine.database.clock()
    html = state.templates.get_template(template).render(
        **context,
        visitor=visitor,
        zone=zone,
        now=now,
        demo=engine.demo,
        node=engine.node_name,
        version=engine.version,
        static=state.static,
        here=request.url.path,
    )
    return HTMLResponse(html, status, dict(headers or {}))


def _present(web: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        f"/static/{name}?v={sha256_of((web / name).read_bytes())[:12]}"
        for name in names
        if (web / name).is_file()
    )
