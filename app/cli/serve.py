"""Commands that serve until a signal."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app import logs
from app.bootstrap import Parts
from app.cli.options import data_option, json_option, parts_of, prepare
from app.serving import LISTENING, SHOWING, Duty, Ports, Serving, until_signal
from app.settings_apart import read_apart

if TYPE_CHECKING:
    from app.settings import Settings

_http_port = click.option(
    "--http-port", type=click.IntRange(0, 65535), help="Port of the web; 0 takes a free one."
)
_dicom_port = click.option(
    "--dicom-port", type=click.IntRange(0, 65535), help="Port of the node; 0 takes a free one."
)
_tls_port = click.option(
    "--dicom-tls-port",
    "tls_port",
    type=click.IntRange(0, 65535),
    help="Port of the node for TLS; 0 takes a free one, none is none.",
)
_ae_title = click.option("--ae-title", help="Application entity title of the node.")


@click.command()
@data_option
@_http_port
@_dicom_port
@_tls_port
@_ae_title
@json_option
@click.option("--demo", is_flag=True, help="Seed the demo network and send a real study through.")
def up(
    data: Path,
    http_port: int | None,
    dicom_port: int | None,
    tls_port: int | None,
    ae_title: str | None,
    as_json: bool,
    demo: bool,
) -> None:
    """Serve everything on one machine: node, web and relay.

    Two processes do it, and a third starts anew whichever of them dies.  State stays in the data
    directory; a second start finds it.  Ends at SIGTERM or Ctrl-C with status 0 after finishing
    what is in hand.
    """
    from app.up import Up

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    def made_ready(parts: Parts) -> None:
        prepare(parts, migrate=True)
        if demo:
            from app.demo.network import seed

            seed(parts, say=say)

    def story(parts: Parts, ports: Ports) -> None:
        from app.demo.story import tell

        tell(parts, ports, say=say)

    dicom = {"port": dicom_port, "tls_port": tls_port, "ae_title": ae_title}
    settings = _logged(read_apart(lambda: _told(data, http_port, dicom)))
    Up(settings, made_ready).serve(
        lambda ports: click.echo(_ready(settings, ports, as_json=as_json)), story if demo else None
    )


@click.command()
@data_option
@_http_port
@json_option
def serve(data: Path, http_port: int | None, as_json: bool) -> None:
    """Serve the web alone (pages, DICOMweb, FHIR)."""
    parts = Parts(_logged(_told(data, http_port, {})))
    prepare(parts, migrate=False)
    _serve(parts, SHOWING, as_json=as_json)


@click.command()
@data_option
@_dicom_port
@_tls_port
@_ae_title
@json_option
def listen(
    data: Path,
    dicom_port: int | None,
    tls_port: int | None,
    ae_title: str | None,
    as_json: bool,
) -> None:
    """Serve the DICOM node alone.

    Any number of nodes may run, each with its own name (TELERAD_NODE) and its own data directory.
    """
    dicom = {"port": dicom_port, "tls_port": tls_port, "ae_title": ae_title}
    parts = Parts(_logged(read_apart(lambda: _told(data, None, dicom))))
    prepare(parts, migrate=False)
    _serve(parts, LISTENING, as_json=as_json)


@click.command()
@data_option
@json_option
def relay(data: Path, as_json: bool) -> None:
    """Run the relay alone.

    It hands what is due to Celery workers, or does it itself where no broker is set.
    """
    parts = parts_of(data)
    _serve(parts, {Duty.RELAY}, as_json=as_json)


@click.command()
@data_option
@click.option(
    "--queues", default="default,ai,outward", show_default=True, help="Celery queues to serve."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="How many things are done at once.",
)
@click.pass_context
def work(ctx: click.Context, data: Path, queues: str, concurrency: int) -> None:
    """Work for the queues of a broker.

    The broker is a RabbitMQ (TELERAD_BROKER__URL), the worker is one of Celery.
    """
    from app.serving import work as serve_queues

    parts = parts_of(data)
    ctx.exit(serve_queues(parts, queues.split(","), concurrency))


@click.command()
@data_option
def migrate(data: Path) -> None:
    """Bring the database to the schema of this version."""
    parts_of(data, migrate=True)
    click.echo("The database is up to date.")


def _logged(settings: "Settings") -> "Settings":
    logs.configure(as_json=settings.production)
    return settings


def _told(data: Path, http_port: int | None, dicom: Mapping[str, int | str | None]) -> "Settings":
    from app.settings import changed, load

    settings = load(data)
    web = {} if http_port is None else {"port": http_port}
    told = {name: value for name, value in dicom.items() if value is not None}
    return changed(settings, web=web, dicom=told)


def _serve(parts: Parts, duties: Collection[Duty], *, as_json: bool) -> None:
    serving = Serving(parts, duties)
    with until_signal() as told_to_stop:
        try:
            click.echo(_ready(parts.settings, serving.start(), as_json=as_json))
            told_to_stop.wait()
        finally:
            serving.stop()


def _ready(settings: "Settings", ports: Ports, *, as_json: bool) -> str:
    base = f"http://{_reachable(settings.web.host)}:{ports.http}" if ports.http else None
    told = {
        "ready": True,
        "pid": os.getpid(),
        "http": base,
        "dicomweb": f"{base}/dicomweb" if base else None,
        "fhir": f"{base}/fhir" if base else None,
        "dicom_port": ports.dicom,
        "dicom_tls_port": ports.dicom_tls,
        "ae_title": settings.dicom.ae_title if ports.dicom else None,
    }
    if as_json:
        return json.dumps(told)
    lines = ["telerad is ready."]
    if base:
        lines += [f"  web       {base}", f"  DICOMweb  {base}/dicomweb", f"  FHIR      {base}/fhir"]
    if ports.dicom:
        lines.append(f"  DICOM     {settings.dicom.ae_title} on port {ports.dicom}")
    if ports.dicom_tls:
        lines.append(f"            {settings.dicom.ae_title} on port {ports.dicom_tls} (TLS)")
    return "\n".join([*lines, "  Ctrl-C ends it; state stays in " + str(settings.data)])


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104
