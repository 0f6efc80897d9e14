"""Commands that take studies out of sight, bring them back, and hold them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.corrections import reason_option
from app.cli.entries import BY, _table
from app.cli.options import data_option, json_option, parts_of

if TYPE_CHECKING:
    from storage.withdrawals import Withdrawal

code_option = click.option(
    "--reason",
    "code",
    required=True,
    metavar="CODE",
    help="113001 quality, 113037 patient safety, 113038 wrong worklist entry, 113039 retention.",
)


@click.command("withdraw")
@click.argument("study_uid")
@click.option("--series", "series_uid", help="Only this series.")
@click.option("--instance", "instance_uid", help="Only this instance.")
@code_option
@data_option
@json_option
def withdraw(
    study_uid: str,
    series_uid: str | None,
    instance_uid: str | None,
    code: str,
    data: Path,
    as_json: bool,
) -> None:
    """Take a study out of sight; its bytes go after a time of grace.

    Until then 'study restore' brings it back.  Nothing goes while a case of it is open, under a
    legal hold, or while a signed report of it is to be kept.
    """
    from app import keeping

    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        made = keeping.withdraw(
            tx,
            study_uid,
            code,
            parts.retention,
            series_uid=series_uid,
            instance_uids=frozenset({instance_uid}) if instance_uid else None,
            organisation=None,
            actor=BY,
        )
    if as_json:
        click.echo(json.dumps(told(made)))
        return
    click.echo(
        f"Withdrawal {made.number}: {made.instances} instances are out of sight; until "
        f"{made.purge_at:%Y-%m-%d} 'study restore' brings them back."
    )


@click.command("restore")
@click.argument("study_uid")
@click.option("--number", type=int, help="Only this withdrawal; else all of the study.")
@click.option(
    "--years",
    type=click.IntRange(1, 200),
    help="Keep it for so long from today, where it went because its retention was over.",
)
@data_option
@json_option
def restore(
    study_uid: str, number: int | None, years: int | None, data: Path, as_json: bool
) -> None:
    """Bring back what was withdrawn of a study.

    One that went because its retention was over stays then, until a person withdraws it, or until
    --years are over.
    """
    from app.keeping import keeping_of
    from storage import retention_end, withdrawals
    from storage.retention import Reason, WithdrawalUnknown

    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        wanted = [
            each for each in withdrawals.open_ones(tx, study_uid) if number in (None, each.number)
        ]
        if not wanted:
            raise WithdrawalUnknown("nothing of this study can be brought back")
        if years and not any(each.reason == Reason.RETENTION_EXPIRED for each in wanted):
            raise click.UsageError("--years is for what went because its retention was over")
        made = [
            retention_end.restore(
                tx, each.number, parts.retention, keeping_of=keeping_of, actor=BY, years=years
            )
            for each in wanted
        ]
    if as_json:
        click.echo(json.dumps([told(each) for each in made]))
        return
    click.echo(f"{sum(each.instances for each in made)} instances are shown again.")


@click.command("hold")
@click.argument("study_uid")
@reason_option
@data_option
def hold(study_uid: str, reason: str, data: Path) -> None:
    """Put a legal hold on a study.

    Nothing of it is withdrawn or purged until 'study release'.
    """
    from storage import withdrawals

    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        withdrawals.hold(tx, study_uid, reason=reason, actor=BY)
    click.echo("The study is under hold until 'study release'.")


@click.command("release")
@click.argument("study_uid")
@reason_option
@data_option
def release(study_uid: str, reason: str, data: Path) -> None:
    """Release the legal hold on a study."""
    from storage import withdrawals

    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        withdrawals.release(tx, study_uid, reason=reason, actor=BY)
    click.echo("The study is under hold no more.")


@click.command("withdrawn")
@click.option("--of", "study_uid", default="", help="Only of this study.")
@data_option
@json_option
def withdrawn(study_uid: str, data: Path, as_json: bool) -> None:
    """List withdrawals, the newest first."""
    from storage import withdrawals

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [told(each) for each in withdrawals.listed(tx, study_uid=study_uid)]
    _table(rows, as_json=as_json)


def told(made: "Withdrawal") -> dict[str, str]:
    """Return a withdrawal as scripts and tables show it."""
    if made.purged_at is not None:
        state = f"purged {made.purged_at:%Y-%m-%d}"
    elif made.restored_at is not None:
        state = f"restored {made.restored_at:%Y-%m-%d}"
    else:
        state = f"withdrawn, purge {made.purge_at:%Y-%m-%d}"
    return {
        "number": str(made.number),
        "of": made.instance_uid or made.series_uid or made.study_uid,
        "instances": str(made.instances),
        "reason": f"{made.reason} {made.meaning}",
        "by": made.actor,
        "at": made.withdrawn_at.isoformat(timespec="seconds"),
        "state": state,
    }
