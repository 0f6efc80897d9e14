"""The one web application: middleware, failures, routers; wiring only."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.engine import Engine
from app.http import dicomweb, fhir, health, metrics, problems
from app.http import requests as request_files
from app.http.head import HeadAsGet
from app.http.headers import RequestLog, SecurityHeaders
from app.http.metrics import Metrics
from app.pages import case, desk, notices, pictures, queue, reading, sign_in
from app.pages import requests as request_page
from app.pages.rendering import WEB, environment, static_files

# Routes are tried in this order; viewers ask most often.
_MODULES = (
    dicomweb, sign_in, queue, case, request_page, request_files, reading, pictures, desk, notices,
    fhir, health, metrics,
)  # fmt: skip
_A_YEAR = "public, max-age=31536000, immutable"


class _Static(StaticFiles):
    """Files that may be kept: a changed file gets a new address (`rendering.static_files`)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in {200, 304}:
            response.headers["Cache-Control"] = _A_YEAR
        return response


def create_app(engine: Engine, *, web: Path = WEB) -> FastAPI:
    """Return the web application of an engine."""
    # The standards it speaks describe themselves.
    app = FastAPI(title="telerad", version=engine.version, openapi_url=None)
    app.state.engine = engine
    app.state.templates = environment()
    app.state.static = static_files(web)
    app.state.metrics = Metrics(engine)
    app.state.event_channels = {}
    problems.install(app)
    for module in _MODULES:
        # As they are: an included router is gone through several times for each request.
        app.router.routes.extend(module.router.routes)
    app.add_api_route("/", _home, include_in_schema=False)
    app.mount("/static", _Static(directory=web), name="static")
    app.add_middleware(HeadAsGet)
    app.add_middleware(SecurityHeaders, secure=engine.web.secure_cookies)
    app.add_middleware(RequestLog)
    return app


def _home() -> Response:
    return RedirectResponse("/queue", 303)
