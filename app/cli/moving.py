"""Commands that move studies between this node and its peers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.entries import BY
from app.cli.options import data_option, json_option, parts_of
from kernel.errors import Refused, Transient

if TYPE_CHECKING:
    from app.bootstrap import Parts
    from dicom_node.send import SendSettings


class NotAllSent(Transient):
    """A peer did not take every instance of a study."""

    code = "cli.not_all_sent"


class NothingNamed(Refused):
    """A command was not told what to do it with."""

    code = "cli.nothing_named"


@click.command()
@click.argument("study_uid", metavar="STUDY")
@data_option
@click.option("--to", "title", required=True, help="AE title of the peer.")
@click.option(
    "--commit", is_flag=True, help="Have it answer for what it took (storage commitment)."
)
@json_option
def send(study_uid: str, data: Path, title: str, commit: bool, as_json: bool) -> None:
    """Send a study to a peer.

    Each instance of its latest manifest has an account.  With --commit the peer is then asked to
    answer for them; 'telerad peer commitments' shows what it said.
    """
    from dicom_node import commands, committing
    from dicom_node.study_sending import send_study
    from storage import archive, audit

    parts = parts_of(data)
    with parts.database.reading() as tx:
        peer = commands.get_peer(tx, title)
        manifest = archive.manifest(tx, study_uid)
    accounts = list(send_study(parts.archive, manifest, peer, _settings(parts)))
    taken = {each.instance_uid for each in accounts if each.ok}
    pairs = [
        (entry.sop_class_uid, entry.instance_uid)
        for entry in manifest.entries
        if entry.instance_uid in taken
    ]
    with parts.database.transaction() as tx:
        audit.record(
            tx,
            actor=BY,
            action="study.sent",
            subject=f"study:{study_uid}",
            outcome=audit.Outcome.SUCCESS if len(taken) == len(accounts) else audit.Outcome.FAILED,
            detail={"ae_title": peer.ae_title, "instances": len(taken), "of": len(accounts)},
        )
        transactions = committing.ask(tx, peer.ae_title, pairs) if commit and pairs else []
    if as_json:
        left = {each.instance_uid: each.reason for each in accounts if not each.ok}
        said = {"taken": len(taken), "of": len(accounts), "left": left, "asked": transactions}
        click.echo(json.dumps(said))
    else:
        click.echo(f"{peer.ae_title} took {len(taken)} of {len(accounts)} instances.")
        for transaction in transactions:
            click.echo(f"It is asked to answer for them: {transaction}")
    if len(taken) < len(accounts):
        worst = next(each for each in accounts if not each.ok)
        raise NotAllSent(f"{len(accounts) - len(taken)} were left, such as: {worst.reason}")


@click.command()
@data_option
@click.option("--from", "title", required=True, help="AE title of the peer.")
@click.option("--patient", help="Patient id; lists what the peer has of the patient.")
@click.option("--issuer", help="Issuer of the patient id; the peer's own where it is not given.")
@click.option("--study", "study_uids", multiple=True, help="Study to fetch; several times if many.")
@json_option
def fetch(
    data: Path,
    title: str,
    patient: str | None,
    issuer: str | None,
    study_uids: tuple[str, ...],
    as_json: bool,
) -> None:
    """Find and fetch priors at a peer.

    With --patient it lists what the peer has; with --study it fetches.  The peer sends to this
    node, which has to be up, and known to the peer by its AE title.
    """
    from app.cli.entries import _table
    from dicom_node import commands, priors

    if not patient and not study_uids:
        raise NothingNamed("name a patient to look for, or a study to fetch")
    parts = parts_of(data)
    settings = _settings(parts)
    with parts.database.reading() as tx:
        peer = commands.get_peer(tx, title)
    rows: list[dict[str, str]] = []
    if patient:
        found = priors.find(
            peer, patient_id=patient, issuer=issuer or peer.issuer, settings=settings
        )
        rows = [
            {
                "study": each.study_uid,
                "date": each.study_date,
                "modalities": "/".join(each.modalities),
                "instances": "" if each.instances is None else str(each.instances),
                "description": each.description,
            }
            for each in found
        ]
        _note(parts, "studies.asked_for", f"ae:{peer.ae_title}", found=len(found))
    for study_uid in study_uids:
        fetched = priors.fetch(peer, study_uid, settings=settings)
        rows.append(
            {"study": study_uid, "came": str(fetched.completed), "failed": str(fetched.failed)}
        )
        _note(parts, "study.fetched", f"study:{study_uid}", came=fetched.completed)
    if study_uids and patient:
        rows = [row for row in rows if "came" in row]
    _table(rows, as_json=as_json)


def _settings(parts: "Parts") -> "SendSettings":
    from dicom_node.send import SendSettings

    return SendSettings(ae_title=parts.settings.dicom.ae_title, secure=parts.secure)


def _note(parts: "Parts", action: str, subject: str, **detail: int) -> None:
    from storage import audit

    with parts.database.transaction() as tx:
        audit.record(tx, actor=BY, action=action, subject=subject, detail=dict(detail))
