"""``telerad demo``: the main job once, in a scratch folder, on free ports."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app import logs
from app.bootstrap import Parts
from app.cli.options import json_option
from app.cli.progress import following, say
from app.settings import DicomSettings, Settings, WebSettings

if TYPE_CHECKING:
    from app.demo.outcome import Account, Outcome

QUIET_S = 1.0
MANY = 5


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
    help="Do it in this folder and keep everything, instead of the artifacts alone.",
)
@json_option
@click.pass_context
def demo(ctx: click.Context, study: Path | None, keep: Path | None, as_json: bool) -> None:
    """Do the main job once and tell each stage.

    Real studies go from C-STORE to the health record.  For every study in PATH the matching
    request is made from its own header; files and studies that do not become a case are listed
    with their reasons.  Exits with 0 only if every stage held for at least one study and no file
    is left unexplained.

    The signed PDF, the SR, the FHIR bundle and the stored instances of each case are copied to
    DIR/artifacts, or without --keep to a fresh folder that stays.
    """
    from app.demo import artifacts, samples
    from app.demo.journey import Journey
    from app.demo.network import seed
    from app.serving import LISTENING, Duty, Serving

    logs.configure(as_json=False, quiet=True)
    readable, unreadable = (
        (samples.shipped(), []) if study is None else samples.read(study, following)
    )
    with _scratch(keep) as (folder, kept):
        parts = Parts(_settings(folder))
        parts.prepare(migrate=True)
        seed(parts, accounts_too=False)
        serving = Serving(parts, {*LISTENING, Duty.RELAY})
        try:
            journey = Journey(parts, serving.start(), say=say, follow=following)
            outcome = journey.run(readable)
            outcome.explained[:0] = unreadable
            paths = [artifacts.keep(parts, case, kept / case.id) for case in outcome.cases]
        finally:
            serving.stop()
    if as_json:
        click.echo(json.dumps(_as_json(outcome, paths)))
    else:
        _tell(outcome, kept if paths else None)
    ctx.exit(0 if outcome.ok else 1)


@contextmanager
def _scratch(keep: Path | None) -> Iterator[tuple[Path, Path]]:
    """Give the folder of the engine and that of the artifacts; only the first may be removed."""
    if keep is not None:
        yield keep.absolute(), keep.absolute() / "artifacts"
        return
    folder, kept = (Path(tempfile.mkdtemp(prefix=f"telerad-{n}-")) for n in ("scratch", "demo"))
    try:
        yield folder, kept
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not any(kept.iterdir()):
            kept.rmdir()


def _settings(folder: Path) -> Settings:
    return Settings(
        data=folder,
        dicom=DicomSettings(host="127.0.0.1", port=0, quiet_s=QUIET_S),
        web=WebSettings(port=0),
    )


def _as_json(outcome: "Outcome", paths: list[dict[str, object]]) -> dict[str, object]:
    return {
        "ok": outcome.ok,
        "stages": [
            {"name": s.name, "ok": s.ok, "ms": s.ms, "detail": s.detail} for s in outcome.stages
        ],
        "artifacts": paths,
        "cases": len(outcome.completed),
        "files": {
            "all": outcome.files,
            "in_cases": len(outcome.files_in_cases),
            "explained": sum(len(one.files) for one in outcome.explained),
            "unexplained": sum(len(one.files) for one in outcome.unexplained),
        },
        "explained": [_account(one) for one in outcome.explained],
        "unexplained": [_account(one) for one in outcome.unexplained],
    }


def _account(one: "Account") -> dict[str, object]:
    return {"name": one.name, "reason": one.reason, "files": list(one.files)}


def _tell(outcome: "Outcome", kept: Path | None) -> None:
    for stage in outcome.stages:
        at = "      -" if stage.ms is None else f"{stage.ms:7}"
        click.echo(f"{'ok  ' if stage.ok else 'FAIL'} {stage.name:10} {at} ms  {stage.detail}")
    _list("Not made into a case, and why:", outcome.explained)
    _list("UNEXPLAINED:", outcome.unexplained)
    click.echo(
        f"{outcome.files} files: {len(outcome.files_in_cases)} in {len(outcome.completed)} "
        "completed cases, the others with their reasons above."
        if outcome.explained or outcome.unexplained
        else f"{outcome.files} files, all in {len(outcome.completed)} completed cases."
    )
    if kept is not None:
        click.echo(f"Signed PDF, SR, FHIR bundle and instances of each case lie in {kept}.")


def _list(title: str, accounts: "list[Account]") -> None:
    """Print each reason once, with what it is about."""
    by_reason: dict[str, list[str]] = {}
    for one in accounts:
        by_reason.setdefault(one.reason, []).append(one.name)
    if by_reason:
        click.echo(title)
    for reason, names in by_reason.items():
        shown = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" * (len(names) > MANY))
        click.echo(f"  {reason}\n    {shown}")
