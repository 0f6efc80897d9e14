"""Commands that enter and list things: orders, cases, peers, users, tokens."""

import getpass
import json
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from app.cli.options import data_option, json_option, parts_of
from kernel.errors import Refused
from kernel.people import Actor, Role

if TYPE_CHECKING:
    from worklist.case import Case

BY = Actor(ref="system:cli", role=Role.ADMINISTRATOR)
MAX_INPUT_BYTES = 16 << 20
MIN_PASSWORD_LENGTH = 8

_Choice = TypeVar("_Choice", bound=StrEnum)


class InputUnreadable(Refused):
    """What was given on standard input or in a file is not what the command takes."""

    code = "cli.input_unreadable"


@click.group()
def order() -> None:
    """Requests for readings: the worklist that modalities ask for."""


@order.command("add")
@click.argument("source", type=click.File("rb"), default="-")
@data_option
@json_option
def _order_add(source: BinaryIO, data: Path, as_json: bool) -> None:
    """Add requests from JSON, all or none.

    SOURCE is a file with one object or a list of them; '-', the default, reads standard input.

    Fields: accession, patient_id, issuer, name, sex, birth_date (YYYY-MM-DD), modality,
    station_ae_title, procedure, scheduled_time (ISO 8601), profile, form (emergent, urgent,
    planned), study_uid, organisation.  'patient_id' and one of 'accession' and 'study_uid' are
    needed.  Keys may also be written as DICOM keywords or with spaces.  The same order again
    changes nothing.
    """
    from app.orders import add, parse

    orders = parse(_json(source.read(MAX_INPUT_BYTES + 1)))
    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        added = [add(tx, one, by=BY, settings=parts.worklist) for one in orders]
    if as_json:
        click.echo(json.dumps([{"id": r.id, "accession": r.accession} for r in added]))
        return
    for request in added:
        click.echo(f"{request.accession or request.study_uid}  {request.id}")


@order.command("list")
@data_option
@json_option
def _order_list(data: Path, as_json: bool) -> None:
    """List requests, the newest first."""
    from worklist import store

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "id": request.id,
                "accession": request.accession,
                "organisation": request.organisation_id,
                "modality": request.modality,
                "profile": request.profile or "",
                "form": request.form.value,
                "state": request.state.value,
            }
            for request in store.list_requests(tx)
        ]
    _table(rows, as_json=as_json)


@click.group()
def case() -> None:
    """Cases: requests whose studies arrived."""


@case.command("list")
@data_option
@click.option("--state", help="Only cases in this state.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many cases at most.",
)
@json_option
def _case_list(data: Path, state: str | None, limit: int, as_json: bool) -> None:
    """List cases, the newest first."""
    from worklist import store
    from worklist.case import CaseState

    wanted = None if state is None else _member(CaseState, state)
    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "id": found.id,
                "accession": found.accession,
                "study_uid": found.study_uid,
                "profile": found.profile,
                "form": found.form.value,
                "state": found.state.value,
                "reason": found.state_reason.value,
                "due": found.due.isoformat(timespec="seconds"),
            }
            for found in store.list_cases(tx, state=wanted, limit=limit)
        ]
    _table(rows, as_json=as_json)


@case.command("show")
@click.argument("case_id")
@data_option
@json_option
def _case_show(case_id: str, data: Path, as_json: bool) -> None:
    """Show one case, and everything that happened to it."""
    from app.priors import told_of
    from storage import audit
    from worklist import store
    from worklist.case import SENTENCES

    parts = parts_of(data)
    with parts.database.reading() as tx:
        found = store.get_case(tx, case_id)
        priors = told_of(tx, found.patient_ref)
        happened = audit.of_case(tx, case_id, found.study_uid)
    if as_json:
        events = [{"at": e.at.isoformat(), "action": e.action, "actor": e.actor} for e in happened]
        click.echo(
            json.dumps(
                {
                    "id": found.id,
                    "state": found.state.value,
                    "reason": found.state_reason.value,
                    "besides": _besides(found),
                    "priors": [prior.as_words() for prior in priors],
                    "events": events,
                }
            )
        )
        return
    click.echo(f"case {found.id}\n  state    {found.state.value}")
    click.echo(f"  because  {SENTENCES[found.state_reason]}")
    for besides in _besides(found):
        click.echo(f"  but      {besides}")
    click.echo(f"  profile  {found.profile}\n  due      {found.due:%Y-%m-%d %H:%M} UTC")
    for prior in priors:
        what = f"{prior.date} {prior.modalities} {prior.study_uid}".strip() or "asked"
        click.echo(f"  priors   {prior.peer}: {what}, {prior.state}: {prior.sentence}")
    for entry in happened:
        click.echo(f"  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.action:28} {entry.actor}")


def _besides(found: "Case") -> list[str]:
    """Return what is to be known of a case beside its state."""
    told = []
    if found.misfiled_by is not None:
        told.append("The study was found to be another patient's: nothing is written on it.")
    if found.late_version is not None:
        told.append(f"Further images came, which it does not hold: manifest {found.late_version}.")
    return told


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
    certificates which are bound to it here.  Of one that is registered, what is not named stays as
    it was; at another site its issuer is a new one.
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
        before = commands.find_peer(tx, ae_title)
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
def _peer_list(data: Path, as_json: bool) -> None:
    """List registered peers."""
    from dicom_node import commands

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
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


@click.group()
def user() -> None:
    """People who can sign in."""


@user.command("add")
@click.argument("login")
@data_option
@click.option("--name", required=True, help="Name as others see it.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([role.value for role in Role if role not in {Role.DEVICE, Role.SYSTEM}]),
    help="What the person may do; can be given several times.",
)
@click.option("--organisation", help="The organisation the person works for.")
@click.option("--reader", "reader_id", help="The consultant that this person is.")
@click.option("--patient", help="The patient that this person is: ID^^^ISSUER, or an id.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def _user_add(
    login: str,
    data: Path,
    name: str,
    roles: tuple[str, ...],
    organisation: str | None,
    reader_id: str | None,
    patient: str | None,
    password_stdin: bool,
) -> None:
    """Add a person who can sign in.

    The password is asked for on the terminal, or read from standard input.
    """
    import worklist
    from app.cli.patients import ref_of
    from app.identity import commands

    password = _password(password_stdin)
    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        if organisation is not None:
            worklist.get_organisation(tx, organisation)
        if reader_id is not None:
            worklist.get_reader(tx, reader_id)
        commands.add_user(
            tx,
            login=login,
            password=password,
            name=name,
            roles=[Role(role) for role in roles],
            organisation_id=organisation,
            reader_id=reader_id,
            patient_ref=None if patient is None else ref_of(tx, patient),
            by=BY,
        )
    click.echo(f"{login} can sign in.")


@click.group()
def token() -> None:
    """Bearer tokens for machines."""


@token.command("add")
@data_option
@click.option("--scopes", required=True, help="Such as 'dicomweb:read dicomweb:write fhir:read'.")
@click.option("--name", default="machine", show_default=True, help="Who uses the token.")
@click.option(
    "--organisation", help="It sees and stores what this organisation may; without it, all."
)
def _token_add(data: Path, scopes: str, name: str, organisation: str | None) -> None:
    """Add a bearer token and print it; it is shown this once.

    A token with an organisation finds and retrieves what that one sent or asked for, as its
    devices do; one without is for programs of the node itself.
    """
    import worklist
    from app.identity import commands

    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        if organisation is not None:
            worklist.get_organisation(tx, organisation)
        token = commands.add_token(tx, name, scopes.split(), organisation_id=organisation, by=BY)
    click.echo(token)


def _password(from_stdin: bool) -> str:
    if not from_stdin and not sys.stdin.isatty():
        raise InputUnreadable("a password is read on a terminal, or with --password-stdin")
    password = sys.stdin.readline().rstrip("\r\n") if from_stdin else getpass.getpass()
    if len(password) < MIN_PASSWORD_LENGTH:
        raise InputUnreadable(f"a password has at least {MIN_PASSWORD_LENGTH} characters")
    return password


def _json(raw: bytes) -> object:
    if len(raw) > MAX_INPUT_BYTES:
        raise InputUnreadable(f"the input is longer than {MAX_INPUT_BYTES >> 20} MiB")
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputUnreadable(f"the input is not JSON: {error.msg} at {where}") from None
    except (UnicodeDecodeError, RecursionError):
        raise InputUnreadable("the input is not JSON in UTF-8") from None


def _member(kind: type[_Choice], told: str) -> _Choice:
    try:
        return kind(told)
    except ValueError:
        known = ", ".join(kind)
        raise InputUnreadable(f"'{told}' is none of {known}") from None


def _table(rows: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("There are none.")
        return
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    click.echo("  ".join(name.upper().ljust(width) for name, width in widths.items()))
    for row in rows:
        click.echo("  ".join(row[name].ljust(width) for name, width in widths.items()))
