"""Commands about the Orthancs that are followed."""

import getpass
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import click

from app.cli.entries import BY, MAX_INPUT_BYTES, InputUnreadable, _table
from app.cli.options import data_option, json_option, parts_of


@click.group()
def orthanc() -> None:
    """Orthancs that are followed and get reports back."""


@orthanc.command("add")
@click.argument("name")
@click.argument("url")
@data_option
@click.option("--user", "username", default="", help="User name there, if it asks for one.")
@click.option(
    "--password-file",
    type=click.File("r"),
    help="File whose first line is the password; '-' reads standard input.",
)
@click.option("--organisation", help="The site it belongs to; a new one without it to 'local'.")
@click.option("--issuer", help="Issuer of its patient ids where its objects do not say.")
@click.option("--charset", help="Character set where its objects do not say.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the authorities its certificate may come from.",
)
def _add(
    name: str,
    url: str,
    data: Path,
    username: str,
    password_file: TextIO | None,
    organisation: str | None,
    issuer: str | None,
    charset: str | None,
    ca_file: Path | None,
) -> None:
    """Follow the Orthanc at URL, or change what is known of NAME.

    Of one that is followed, organisation, issuer, character set and authorities stay as they were
    where they are not named; at another site its issuer is a new one.

    With --user the password is asked for on the terminal, or read from --password-file; it is
    kept on this host, for its owner alone.
    """
    from app.orders import ensure_site
    from app.orthancs import add, keep_password
    from dicom_node import orthanc_store
    from dicom_node.orthancs import Orthanc, checked
    from storage.patients import unstated_issuer

    told = Orthanc(
        name=name,
        url=url,
        organisation_id="",
        issuer=issuer or "unstated",
        username=username,
        character_set=charset or "",
        ca_file=str(ca_file.absolute()) if ca_file else "",
    )
    checked(told)  # before a password is asked for
    password = _password(password_file) if username else ""
    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        before = next((one for one, _ in orthanc_store.listed(tx) if one.name == name), None)
        stays = before is not None and organisation in {None, before.organisation_id}
        site = before.organisation_id if before and stays else ensure_site(tx, organisation, by=BY)
        told = replace(
            told,
            organisation_id=site,
            issuer=issuer or (before.issuer if before and stays else unstated_issuer(site)),
            character_set=before.character_set if before and charset is None else charset or "",
            ca_file=before.ca_file if before and ca_file is None else told.ca_file,
        )
        add(tx, told, by=BY)
        keep_password(parts.keys, name, password)
    click.echo(f"{name} belongs to {site} and is followed by the node.")


@orthanc.command("list")
@data_option
@json_option
def _list(data: Path, as_json: bool) -> None:
    """List what is followed, and how far."""
    from dicom_node import orthanc_store

    parts = parts_of(data)
    with parts.database.reading() as tx:
        found = orthanc_store.listed(tx)
    if as_json:
        told = [
            {
                "name": one.name,
                "url": one.url,
                "user": one.username,
                "organisation": one.organisation_id,
                "issuer": one.issuer,
                "last_change": far.last_change,
                "backlog": far.backlog,
                "seen_at": far.seen_at.isoformat() if far.seen_at else None,
                "failures": far.failures,
                "trouble": far.trouble.sentence if far.trouble else None,
                "trouble_at": far.trouble.at.isoformat() if far.trouble else None,
                "started_over_at": far.started_over_at.isoformat() if far.started_over_at else None,
                "started_over_why": far.started_over_why,
            }
            for one, far in found
        ]
        click.echo(json.dumps(told))
        return
    _table(
        [
            {
                "name": one.name,
                "url": one.url,
                "organisation": one.organisation_id,
                "change": str(far.last_change),
                "backlog": str(far.backlog),
                "seen": f"{far.seen_at:%Y-%m-%d %H:%M:%S}" if far.seen_at else "never",
                "last trouble": f"{far.trouble.at:%Y-%m-%d %H:%M:%S} {far.trouble.sentence}"
                if far.trouble
                else "",
            }
            for one, far in found
        ],
        as_json=False,
    )


@orthanc.command("remove")
@click.argument("name")
@data_option
def _remove(name: str, data: Path) -> None:
    """Follow an Orthanc no longer; what came from it stays."""
    from app.orthancs import keep_password, remove

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        remove(tx, name, by=BY)
        keep_password(parts.keys, name, "")
    click.echo(f"{name} is not followed any more.")


@orthanc.command("again")
@click.argument("name")
@data_option
def _again(name: str, data: Path) -> None:
    """Look through all changes of an Orthanc again.

    What is here already is not pulled twice; what was set aside is tried again.
    """
    from app.orthancs import start_over

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        start_over(tx, name, by=BY)
    click.echo(f"{name} is looked through from its first change.")


def _password(file: TextIO | None) -> str:
    if file is not None:
        return file.readline(MAX_INPUT_BYTES).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputUnreadable("a password is read on a terminal, or from --password-file")
    return getpass.getpass()
