"""Corrections: what was made, and taking one back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.entries import BY, _table
from app.cli.options import data_option, json_option, parts_of

if TYPE_CHECKING:
    from storage.correction import Correction
    from storage.engine import Transaction

reason_option = click.option(
    "--reason", required=True, help="Why, in a sentence; it is kept for ever."
)


@click.group()
def correction() -> None:
    """Corrections: what was made, and taking one back."""


@correction.command("list")
@click.option("--of", "subject", default="", help="Only of this patient reference or study UID.")
@data_option
@json_option
def _correction_list(subject: str, data: Path, as_json: bool) -> None:
    """List corrections, the newest first.

    Those that were taken back are among them.
    """
    from storage import corrections

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [_told(each) for each in corrections.listed(tx, subject=subject)]
    _table(rows, as_json=as_json)


@correction.command("undo")
@click.argument("number", type=int)
@reason_option
@data_option
@json_option
def _correction_undo(number: int, reason: str, data: Path, as_json: bool) -> None:
    """Take a correction back.

    All is then shown as if it had never been made.
    """
    from storage import corrections

    def make(tx: "Transaction") -> "Correction":
        return corrections.withdraw(tx, number, reason=reason, actor=BY)

    make_correction(data, make, as_json=as_json)


def make_correction(
    data: Path, make: Callable[["Transaction"], "Correction"], *, as_json: bool
) -> None:
    """Make or withdraw a correction and say so."""
    parts = parts_of(data, migrate=True)
    with parts.database.transaction() as tx:
        made = make(tx)
    if as_json:
        click.echo(json.dumps(_told(made)))
    elif made.in_force:
        click.echo(f"Correction {made.number} is in force; 'correction undo' takes it back.")
    else:
        click.echo(f"Correction {made.number} is withdrawn.")


def _told(made: "Correction") -> dict[str, str]:
    return {
        "number": str(made.number),
        "kind": made.kind.value,
        "of": made.subject,
        "to": made.target or ", ".join(sorted(made.values)),
        "reason": made.reason,
        "by": made.actor,
        "at": made.made_at.isoformat(timespec="seconds"),
        "withdrawn": made.withdrawn_at.isoformat(timespec="seconds") if made.withdrawn_at else "",
    }
