"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from app.bootstrap import Parts
from kernel.errors import Misconfigured

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


class SchemaNotCurrent(Misconfigured):
    """The database was not made yet, or is that of an earlier version."""

    code = "cli.schema_not_current"


def parts_of(data: Path, *, migrate: bool = False) -> Parts:
    """Return the parts of a data directory; make or bring up to date its database if asked.

    Raises
    ------
    SchemaNotCurrent
        It is not asked, and the database cannot be used as it is.
    """
    from app import logs
    from app.settings import load

    settings = load(data)
    logs.configure(as_json=settings.production)
    parts = Parts(settings)
    prepare(parts, migrate=migrate)
    return parts


def prepare(parts: Parts, *, migrate: bool) -> None:
    """Prepare the parts; without `migrate` the database must be that of this version already."""
    if not migrate:
        require_current(parts)
    with parts.database.reading():
        pass  # a database that cannot be reached is named here, in one sentence
    parts.prepare(migrate=migrate)


def require_current(parts: Parts) -> None:
    """Refuse a database that was not made, or that belongs to another version.

    Raises
    ------
    SchemaNotCurrent
        It has not the schema of this version.
    """
    from storage.schema import is_current

    data = parts.settings.data
    if not is_made(parts):
        raise SchemaNotCurrent(
            f"there is no engine in {data} yet: 'telerad up --data {data}' or 'telerad migrate "
            f"--data {data}' makes it"
        )
    with parts.database.reading() as tx:
        if not is_current(tx.connection):
            raise SchemaNotCurrent(
                "the database has not the schema of this version: run 'telerad migrate --data "
                f"{data}'"
            )


def is_made(parts: Parts) -> bool:
    """Say whether there is a database; one on a server is made by who runs the server."""
    settings = parts.settings
    return bool(settings.storage.database_url) or (settings.data / "telerad.db").exists()
