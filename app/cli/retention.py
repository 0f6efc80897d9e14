"""Commands on studies whose retention is over: listed, withdrawn as a person decides, or kept."""

from pathlib import Path

import click

from app.cli.corrections import reason_option
from app.cli.entries import BY, _table
from app.cli.options import data_option, json_option, parts_of
from kernel.errors import NotFound, Refused


class SomeKept(Refused):
    """Of several studies that were to go, some stay."""

    code = "cli.some_kept"


@click.group()
def retention() -> None:
    """Studies that need not be kept any longer."""


@retention.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="At most so many.",
)
@data_option
@json_option
def _list(limit: int, data: Path, as_json: bool) -> None:
    """List studies whose retention is over.

    Those that have waited longest come first.  They stay until somebody withdraws them, unless the
    setting 'retention.ending' says otherwise; those that were brought back come last and stay.
    """
    from storage import retention_end

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "study": each.study_uid,
                "organisation": each.owner,
                "modalities": each.modalities,
                "kept_until": f"{each.kept_until:%Y-%m-%d}",
                "state": each.state.value.replace("_", " "),
                "because": each.sentence,
            }
            for each in retention_end.listed(tx, limit=limit)
        ]
    _table(rows, as_json=as_json)


@retention.command("withdraw")
@click.argument("study_uids", metavar="[STUDY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every study that nobody brought back.")
@data_option
def _withdraw(study_uids: tuple[str, ...], everything: bool, data: Path) -> None:
    """Withdraw studies whose retention is over.

    They are out of sight at once and their bytes go after the time of grace; until then
    'study restore' brings them back.  What a rule keeps by now is named and stays.
    """
    from app.keeping import keeping_of
    from storage import retention_end

    if bool(study_uids) == everything:
        raise click.UsageError("name studies, or --all")
    parts = parts_of(data, migrate=True)
    if everything:
        with parts.database.reading() as tx:
            proposed = retention_end.listed(tx, limit=retention_end.counted(tx))
            study_uids = tuple(
                each.study_uid
                for each in proposed
                if each.state is not retention_end.EndState.RESTORED
            )
    if not study_uids:
        click.echo("There are none.")
    stay = 0
    for study_uid in study_uids:
        try:
            with parts.database.transaction() as tx:
                made = retention_end.withdraw(
                    tx, study_uid, parts.retention, keeping_of=keeping_of, actor=BY
                )
            click.echo(f"{study_uid}  withdrawn, purge {made.purge_at:%Y-%m-%d}")
        except (Refused, NotFound) as refusal:
            stay += 1
            click.echo(f"{study_uid}  stays: {refusal.sentence}")
    if stay:
        raise SomeKept(f"{stay} of {len(study_uids)} stay")


@retention.command("keep")
@click.argument("study_uid")
@click.option("--years", type=click.IntRange(1, 200), required=True, help="From today.")
@reason_option
@data_option
def _keep(study_uid: str, years: int, reason: str, data: Path) -> None:
    """Keep a study whose retention is over for some years more."""
    from storage import retention_end

    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        retention_end.prolong(tx, study_uid, years=years, reason=reason, actor=BY)
    click.echo(f"The study is proposed again in {years} years.")
