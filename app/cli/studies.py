"""Commands that show studies."""

import json
from pathlib import Path

import click

from app.cli.options import data_option, json_option, parts_of


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
        told = shown(tx, study_uid)
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(f"study     {told['study_uid']}")
    click.echo(f"manifest  {told['manifest_version'] or 'not complete yet'}")
    for each in told["series"]:
        what = f"{each['modality'] or '?'} {each['description']}".strip()
        click.echo(f"series    {each['series_uid']}  {each['instances']} instances  {what}")
    for remark in told["remarks"]:
        click.echo(f"remark    {remark['sentence']}  ({remark['instances']} instances)")
