"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from app.bootstrap import Parts
from app.settings import load

F = TypeVar("F", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var"),
    show_default=True,
    metavar="DIR",
    help="The data directory: database, journal, objects, keys, telerad.toml.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for scripts instead of text for people."
)


def parts_of(data: Path, *, migrate: bool = True) -> Parts:
    """Return the parts of a data directory, its database brought up to date."""
    from app import logs

    settings = load(data)
    logs.configure(as_json=settings.production)
    parts = Parts(settings)
    parts.prepare(migrate=migrate)
    return parts
