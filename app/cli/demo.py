"""``telerad demo``: the main job once, in a scratch folder, on free ports."""

import json
import tempfile
from contextlib import nullcontext
from pathlib import Path

import click

from app import logs
from app.bootstrap import Parts
from app.cli.options import json_option
from app.settings import DicomSettings, Settings, WebSettings

QUIET_S = 1.0


@click.command()
@click.option(
    "--study",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="A DICOM file or folder of any site instead of the shipped studies.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep everything in this folder instead of a scratch one.",
)
@json_option
@click.pass_context
def demo(ctx: click.Context, study: Path | None, keep: Path | None, as_json: bool) -> None:
    """Send real studies from C-STORE to the health record once, and say what became of each.

    For every study in PATH the matching request is made from its own header.  Exits with 0 only
    if every stage held for at least one study and no file is left unexplained.
    """
    from app.demo import samples
    from app.demo.journey import Journey, artifacts
    from app.demo.network import seed
    from app.serving import Serving

    logs.configure(as_json=False, quiet=True)
    readable, unreadable = (samples.shipped(), []) if study is None else samples.read(study)
    scratch = nullcontext(str(keep)) if keep else tempfile.TemporaryDirectory(prefix="telerad-")
    with scratch as folder:
        parts = Parts(_settings(Path(folder)))
        parts.prepare(migrate=True)
        seed(parts, accounts_too=False)
        serving = Serving(parts, web=False, dicom=True, relay=True)
        try:
            ports = serving.start()
            journey = Journey(parts, ports, say=lambda line: click.echo(line, err=True))
            outcome = journey.run(readable)
            outcome.explained += unreadable
            paths = artifacts(parts, outcome)
        finally:
            serving.stop()
    for one in [*unreadable, *outcome.unexplained]:
        click.echo(f"{one.name}: {one.reason}", err=True)
    stages = [
        {"name": s.name, "ok": s.ok, "ms": s.ms, "detail": s.detail}
        for s in outcome.stages.values()
    ]
    explained = [{"name": one.name, "reason": one.reason} for one in outcome.explained]
    if as_json:
        told = {
            "ok": outcome.ok,
            "stages": stages,
            "artifacts": paths,
            "cases": len(outcome.completed),
            "explained": explained,
        }
        click.echo(json.dumps(told))
    else:
        for stage in outcome.stages.values():
            mark = "ok  " if stage.ok else "FAIL"
            at = "      -" if stage.ms is None else f"{stage.ms:6} ms"
            click.echo(f"{mark} {stage.name:10} {at}  {stage.detail}")
        click.echo(f"{len(outcome.completed)} cases completed, {len(explained)} things explained.")
        if keep:
            click.echo(f"Everything lies in {keep}.")
    ctx.exit(0 if outcome.ok else 1)


def _settings(folder: Path) -> Settings:
    return Settings(
        data=folder,
        dicom=DicomSettings(host="127.0.0.1", port=0, quiet_s=QUIET_S),
        web=WebSettings(port=0),
    )
