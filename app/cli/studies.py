"""Commands that show, correct and hand out studies."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import keeping
from app.cli.corrections import make_correction, reason_option
from app.cli.entries import BY, _table
from app.cli.options import data_option, json_option, parts_of
from app.cli.patients import ref_of

if TYPE_CHECKING:
    from storage.correction import Correction
    from storage.engine import Transaction


@click.group()
def study() -> None:
    """Studies in the archive."""


@study.command("show")
@click.argument("study_uid")
@data_option
@json_option
def _study_show(study_uid: str, data: Path, as_json: bool) -> None:
    """Show what the archive has of a study, and what is odd in it.

    Nothing that names the patient is printed.
    """
    from app.studies import shown

    parts = parts_of(data)
    with parts.database.reading() as tx:
        told = shown(tx, study_uid, parts.completeness)
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(f"study     {told['study_uid']}")
    click.echo(f"manifest  {told['manifest_version'] or 'not complete yet'}")
    if told["completeness"]:
        click.echo(_standing(told["completeness"]))
    for each in told["series"]:
        what = f"{each['modality'] or '?'} {each['description']}".strip()
        click.echo(f"series    {each['series_uid']}  {each['instances']} instances  {what}")
    for remark in told["remarks"]:
        click.echo(f"remark    {remark['sentence']}  ({remark['instances']} instances)")


@study.command("arriving")
@data_option
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many studies at most.",
)
@json_option
def _study_arriving(data: Path, limit: int, as_json: bool) -> None:
    """List studies that are not settled, and what each waits for.

    Those that began to come first are first; a study is settled as it is when its time is over.
    """
    from dicom_node.verdicts import waits

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "study_uid": each.study_uid,
                "accession": each.accession,
                "from": each.station_ae_title,
                "manifest": str(each.manifest_version or ""),
                "last_image": each.last_arrival_at.isoformat(timespec="seconds"),
                "settled_by": each.until.isoformat(timespec="seconds") if each.until else "",
                "why": each.sentence,
            }
            for each in waits(tx, parts.completeness, limit=limit)
        ]
    _table(rows, as_json=as_json)


def _standing(told: dict[str, Any]) -> str:
    word = {"waiting": "waits", "complete": "complete", "overdue": "overdue"}[told["state"]]
    until = f"  (until {told['until']} at most)" if told["until"] else ""
    return f"{word:9} {told['sentence']}{until}"


@study.command("correct")
@click.argument("study_uid")
@click.option("--patient", "who", help="Whose it is: ID^^^ISSUER, an id, or a reference.")
@click.option("--accession", help="The right accession number.")
@reason_option
@data_option
@json_option
def _study_correct(
    study_uid: str,
    who: str | None,
    accession: str | None,
    reason: str,
    data: Path,
    as_json: bool,
) -> None:
    """Say whose a study is, or which accession number it has."""
    from storage import corrections

    if (who is None) == (accession is None):
        raise click.UsageError("name one of --patient and --accession")

    def make(tx: "Transaction") -> "Correction":
        if who is not None:
            return corrections.move_study(tx, study_uid, ref_of(tx, who), reason=reason, actor=BY)
        return corrections.renumber_study(tx, study_uid, accession or "", reason=reason, actor=BY)

    make_correction(data, make, as_json=as_json)


@study.command("export")
@click.argument("study_uid")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the files are written; made if missing.",
)
@click.option(
    "--original", is_flag=True, help="The bytes exactly as received, without corrections."
)
@data_option
def _study_export(study_uid: str, folder: Path, original: bool, data: Path) -> None:
    """Write the files of a study into a folder.

    They carry the corrections in force, unless --original is given.
    """
    from dicom_node import outgoing
    from storage import audit, series_queries
    from storage.archive import StudyUnknown

    parts = parts_of(data)
    with parts.database.reading() as tx:
        held = series_queries.held(tx, study_uid)
    if not held:
        raise StudyUnknown("nothing of this study is stored", study_uid=study_uid)
    shown = None if original else outgoing.shown_of(parts.archive, study_uid)
    folder.mkdir(parents=True, exist_ok=True)
    for instance in held:
        with (folder / f"{instance.instance_uid}.dcm").open("xb") as file:
            for piece in outgoing.outgoing(parts.archive, instance, shown).pieces:
                file.write(piece)
    with parts.database.transaction() as tx:
        audit.record(
            tx,
            actor=BY,
            action="study.exported",
            subject=f"study:{study_uid}",
            detail={"instances": len(held), "original": original},
        )
    click.echo(f"{len(held)} files of the study lie in {folder}.")


for _each in (keeping.withdraw, keeping.restore, keeping.hold, keeping.release, keeping.withdrawn):
    study.add_command(_each)
