"""Commands that enter and list things: orders, cases, users, tokens."""

import getpass
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

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


@user.command("list")
@data_option
@json_option
def _user_list(data: Path, as_json: bool) -> None:
    """List who can sign in, and whose account is closed."""
    from app.identity import store

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "login": account.person.login,
                "name": account.person.name,
                "roles": " ".join(sorted(account.person.roles)),
                "organisation": account.person.organisation_id or "",
                "state": "open" if account.active else "closed",
            }
            for account in store.accounts(tx)
        ]
    _table(rows, as_json=as_json)


@user.command("close")
@click.argument("login")
@data_option
def _user_close(login: str, data: Path) -> None:
    """Close an account: who is signed in with it is out at once.

    'telerad user open' opens it again.  What the person did stays under their name.
    """
    from app.identity import commands

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        commands.close_account(tx, commands.find_login(tx, login), by=BY)
    click.echo(f"{login} cannot sign in any more.")


@user.command("open")
@click.argument("login")
@data_option
def _user_open(login: str, data: Path) -> None:
    """Open an account that was closed, with the password it had."""
    from app.identity import commands

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        commands.open_account(tx, commands.find_login(tx, login), by=BY)
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


@token.command("list")
@data_option
@json_option
def _token_list(data: Path, as_json: bool) -> None:
    """List the tokens that are good; none is shown itself."""
    from app.identity import store

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "id": machine.id,
                "name": machine.name,
                "scopes": " ".join(sorted(machine.scopes)),
                "organisation": machine.organisation_id or "",
                "added_at": at.isoformat(timespec="seconds"),
            }
            for machine, at in store.tokens(tx)
        ]
    _table(rows, as_json=as_json)


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@data_option
def _token_revoke(token_id: str, data: Path) -> None:
    """Take a bearer token back.

    Its next request is refused.  ID is that of 'telerad token list'.
    """
    from app.identity import commands

    parts = parts_of(data)
    with parts.database.transaction() as tx:
        commands.revoke_token(tx, token_id, by=BY)
    click.echo("The token is not good any more.")


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
