"""Commands about peers: the devices and archives that may call, and are called."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.entries import BY, _table
from app.cli.options import data_option, json_option, parts_of

if TYPE_CHECKING:
    from storage.engine import Transaction


@click.group()
def peer() -> None:
    """Devices and archives that may call."""


@peer.command("add")
@data_option
@click.option("--ae", "ae_title", required=True, help="Application entity title, 1-16 characters.")
@click.option("--host", required=True, help="Name or address of its machine.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port it listens on.")
@click.option("--organisation", help="The site it belongs to; a new one without it to 'local'.")
@click.option("--issuer", help="Issuer of its patient ids where its objects do not say.")
@click.option("--charset", help="Character set where its objects do not say.")
@click.option("--reader", help="Consultant whose workstation it is, who claims with it.")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate (PEM or DER) that it shows over TLS; can be given several times.",
)
@click.option(
    "--notify/--no-notify", default=None, help="Tell it which studies are here; not unless told so."
)
@click.option(
    "--priors/--no-priors",
    default=None,
    help="Fetch a patient's earlier studies from it when a case opens; not unless told so.",
)
@click.option("--tls/--no-tls", default=None, help="Call it over TLS; not unless told so.")
@click.option(
    "--plain/--no-plain",
    default=None,
    help="Let it call without TLS too; a peer with a certificate may not unless told so.",
)
def _peer_add(
    data: Path,
    ae_title: str,
    host: str,
    port: int,
    organisation: str | None,
    issuer: str | None,
    charset: str | None,
    reader: str | None,
    certificates: tuple[Path, ...],
    notify: bool | None,
    priors: bool | None,
    tls: bool | None,
    plain: bool | None,
) -> None:
    """Register a peer, or change it.

    A caller whose title is not registered is refused.  On the TLS port a title is that of the
    certificates which are bound to it here.  Of one that is or was registered, what is not named
    stays as it was; at another site its issuer is a new one.
    """
    from app.orders import ensure_site
    from dicom_node import commands
    from dicom_node.certificates import read
    from dicom_node.peers import Peer
    from storage.patients import unstated_issuer

    shown = [read(file.read_bytes()) for file in certificates]
    told: dict[str, Any] = {
        "character_set": charset,
        "reader_id": reader,
        "notify": notify,
        "priors": priors,
        "tls": tls,
        "tls_required": (True if shown else None) if plain is None else not plain,
    }
    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        before = commands.find_sender(tx, ae_title)
        back = before is not None and commands.find_peer(tx, ae_title) is None
        stays = before is not None and organisation in {None, before.organisation_id}
        site = before.organisation_id if before and stays else ensure_site(tx, organisation, by=BY)
        told["issuer"] = issuer or (None if stays else unstated_issuer(site))
        named = {name: value for name, value in told.items() if value is not None}
        where: dict[str, Any] = {
            "ae_title": ae_title,
            "host": host,
            "port": port,
            "organisation_id": site,
        }
        peer = replace(before, **where, **named) if before else Peer(**where, **named)
        commands.add_peer(tx, peer, actor=BY)
        for certificate in shown:
            commands.bind_certificate(tx, ae_title, certificate, actor=BY)
    click.echo(f"{ae_title} at {host}:{port} belongs to {site}.")
    for certificate in shown:
        click.echo(
            f"Bound to it until {certificate.not_after:%Y-%m-%d}: {certificate.subject}"
            f" ({certificate.fingerprint})"
        )
    if peer.tls_required:
        click.echo("It may call over TLS alone (--plain allows both).")
    if back:
        click.echo("It had been removed: a certificate that it had then has to be named again.")


@peer.command("remove")
@data_option
@click.option("--ae", "ae_title", required=True, help="Application entity title.")
def _peer_remove(data: Path, ae_title: str) -> None:
    """Take a peer away; 'telerad peer add' brings it back.

    Its next association is refused and it is called no more; what waits to be told to it is given
    up, and its certificates are taken back.  What it sent stays, in sight of its site.
    """
    from dicom_node.removal import remove_peer

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        gone = remove_peer(tx, ae_title, actor=BY)
    click.echo(f"{gone.ae_title} is not registered any more; what it sent stays.")


@peer.command("revoke")
@data_option
@click.option("--ae", "ae_title", required=True, help="Application entity title.")
@click.option("--fingerprint", required=True, help="SHA-256 of the certificate, in hex.")
def _peer_revoke(data: Path, ae_title: str, fingerprint: str) -> None:
    """Take a certificate back from a peer.

    Its next association with it is refused.
    """
    from dicom_node import commands

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        commands.revoke_certificate(tx, ae_title, fingerprint, actor=BY)
    click.echo(f"{ae_title} is not known by this certificate any more.")


@peer.command("certificates")
@data_option
@json_option
def _peer_certificates(data: Path, as_json: bool) -> None:
    """List the certificates that are bound to peers."""
    from dicom_node import commands

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "ae_title": found.ae_title,
                "organisation": found.organisation_id,
                "valid_until": f"{found.certificate.not_after:%Y-%m-%d}",
                "state": "revoked" if found.revoked_at else "bound",
                "subject": found.certificate.subject,
                "fingerprint": found.certificate.fingerprint,
            }
            for found in commands.list_bindings(tx)
        ]
    _table(rows, as_json=as_json)


@peer.command("list")
@data_option
@json_option
@click.option("--removed", is_flag=True, help="List those that were removed, and when.")
def _peer_list(data: Path, as_json: bool, removed: bool) -> None:
    """List registered peers."""
    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = _removed(tx) if removed else _registered(tx)
    _table(rows, as_json=as_json)


@peer.command("commitments")
@data_option
@json_option
def _peer_commitments(data: Path, as_json: bool) -> None:
    """Show what peers were asked to answer for."""
    from dicom_node import errands

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "asked_at": each.asked_at.isoformat(timespec="seconds"),
                "ae_title": each.ae_title,
                "state": each.state,
                "instances": str(len(each.asked)),
                "failed": str(len(each.failed)),
                "transaction": each.transaction_uid,
            }
            for each in errands.list_asked(tx)
        ]
    _table(rows, as_json=as_json)


def _registered(tx: "Transaction") -> list[dict[str, str]]:
    from dicom_node import commands

    return [
        {
            "ae_title": found.ae_title,
            "host": found.host,
            "port": str(found.port),
            "organisation": found.organisation_id,
            "issuer": found.issuer,
            "notified": "yes" if found.notify else "no",
            "priors": "yes" if found.priors else "no",
            "we_call": "tls" if found.tls else "plain",
            "it_calls": "tls" if found.tls_required else "plain or tls",
        }
        for found in commands.list_peers(tx)
    ]


def _removed(tx: "Transaction") -> list[dict[str, str]]:
    from dicom_node import commands

    return [
        {
            "ae_title": found.ae_title,
            "organisation": found.organisation_id,
            "removed_at": at.isoformat(timespec="seconds"),
        }
        for found, at in commands.list_removed(tx)
    ]
