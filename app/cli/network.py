"""Commands that enter and show who takes part: organisations, profiles, consultants, keys."""

import os
from pathlib import Path

import click

from app.cli.entries import BY
from app.cli.options import data_option, parts_of


@click.group()
def network() -> None:
    """Who takes part: sites, profiles, consultants."""


@network.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
def _load(file: Path, data: Path) -> None:
    """Enter what a TOML file describes.

    What is there already is brought up to date; all of FILE is entered, or nothing.  What FILE
    does not name stays: 'telerad peer remove' takes a peer away.
    The network of the demo, app/demo/network.toml, is an example of every entry.
    """
    from app.network import enter, left_out, read

    described = read(file)
    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        enter(tx, described, settings=parts.worklist, by=BY)
        beside = left_out(tx, described)
    click.echo(
        f"{len(described.organisation)} organisations, {len(described.profile)} profiles,"
        f" {len(described.consultant)} consultants, {len(described.peer)} peers: entered."
    )
    if beside and described.peer:
        click.echo(f"Registered, not in the file, and left as they are: {', '.join(beside)}.")


@network.command("show")
@data_option
def _show(data: Path) -> None:
    """Show organisations, and consultants in turn."""
    from worklist import store

    parts = parts_of(data)
    with parts.database.reading() as tx:
        for organisation in store.list_organisations(tx):
            kind = organisation.kind.value
            click.echo(f"{organisation.id:20} {kind:11} {organisation.name}")
        for profile in store.list_profiles(tx):
            click.echo(f"\n{profile.name} ({profile.id}), in turn:")
            for seat in sorted(store.seats(tx, profile.id), key=lambda one: one.turn):
                duty = "on duty" if seat.reader.on_duty(tx.at) else "off duty"
                key = "key" if parts.key_file(seat.reader.id).exists() else "no key"
                click.echo(f"  {seat.reader.id:16} {seat.reader.name:28} {duty:9} {key}")


@network.command("key")
@click.argument("reader_id", metavar="CONSULTANT")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_option
def _key(reader_id: str, file: Path, data: Path) -> None:
    """Keep the key that a consultant signs with.

    FILE is a PKCS#12 container; CONSULTANT signs with it on this node.
    Asks for its passphrase to see that it opens and belongs to the consultant; the passphrase is
    not kept.
    """
    import worklist
    from reporting.certificates import require_fit
    from reporting.signers.pkcs12 import open_key_file

    parts = parts_of(data)
    with parts.database.reading() as tx:
        worklist.get_reader(tx, reader_id)
    held = file.read_bytes()
    signer = open_key_file(held, click.prompt("Passphrase of the key", hide_input=True, err=True))
    require_fit(signer.certificate, signer.chain, parts.trust, author=reader_id, at=parts.clock())
    target = parts.key_file(reader_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_bytes(held)
    os.sync()
    click.echo(f"{reader_id} can sign on this node.")
