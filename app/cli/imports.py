"""``telerad import``: a file of a site that is no DICOM, for one of its requests."""

import json
from pathlib import Path

import click

from app.cli.entries import BY, InputUnreadable
from app.cli.options import data_option, json_option, parts_of


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
@click.option("--request", "request_id", required=True, help="Id as 'telerad order list' shows it.")
@json_option
def import_(file: Path, data: Path, request_id: str, as_json: bool) -> None:
    """Make a picture, PDF or film a DICOM object.

    What the file is, its content decides.  The same file again changes nothing.
    """
    from app.imports import import_file
    from dicom_node.imported import MAX_BYTES

    if file.stat().st_size > MAX_BYTES:
        raise InputUnreadable(f"a file has at most {MAX_BYTES >> 20} MiB")
    parts = parts_of(data)
    try:
        done = import_file(
            parts.engine(),
            request_id,
            file.read_bytes(),
            name=file.name,
            account="cli",
            by=BY,
        )
    finally:
        parts.journal.close()
    if as_json:
        told = {
            "kind": done.kind.value,
            "study_uid": done.study_uid,
            "series_uid": done.series_uid,
            "instance_uid": done.instance_uid,
            "duplicate": done.duplicate,
            "remarks": list(done.remarks),
        }
        click.echo(json.dumps(told))
        return
    again = " It was here already." if done.duplicate else ""
    click.echo(f"{done.kind.value} is {done.instance_uid} of study {done.study_uid}.{again}")
    for remark in done.remarks:
        click.echo(f"Note: {remark}.")
