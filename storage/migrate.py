"""Bring a database to the schema this version needs.

A migration waits for a lock as long as everything does (`storage.engine`), so that one that cannot
get it fails clearly and does not stop a running hospital; once it has it, it may work for an hour.
"""

from importlib import import_module
from pkgutil import iter_modules

import structlog
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, func, select, text

import storage.tables
from kernel.errors import Misconfigured
from storage.engine import POSTGRESQL_LOCK_TIMEOUT_MS, Database
from storage.schema import head, is_current
from storage.tables import METADATA

_TURN = 0x4D494752
"""The key of the lock on migrating."""
_WORKS_FOR_MS = 3_600_000

log = structlog.get_logger()


class SchemaIsNewer(Misconfigured):
    """The database was written by a later version of the engine."""

    code = "storage.schema_is_newer"


def upgrade(database: Database) -> None:
    """Run every migration the database has not seen; nothing happens if there is none.

    Nodes that start at the same time do it one after the other, so that one of them does it.

    Raises
    ------
    SchemaIsNewer
        The database knows a migration that this version does not.
    DatabaseHeld
        Another session holds it: nothing was changed.
    """
    with database.schema() as connection:
        if is_current(connection):
            return
        _take_turn(connection)
        if is_current(connection):
            return
        known = {script.revision for script in _scripts().walk_revisions()}
        seen = MigrationContext.configure(connection).get_current_heads()
        if not set(seen) <= known:
            raise SchemaIsNewer("the database belongs to a later version: upgrade the engine")
        if seen:
            log.info("database.migrating", seen=sorted(seen), to=head())
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _take_turn(connection: Connection) -> None:
    """Wait until no other node migrates, however long that takes; SQLite has one writer anyway."""
    if connection.dialect.name == "sqlite":
        return
    for name in ("lock_timeout", "statement_timeout"):
        connection.execute(text(f"SET LOCAL {name} = 0"))
    connection.execute(select(func.pg_advisory_xact_lock(_TURN)))
    connection.execute(text(f"SET LOCAL lock_timeout = {POSTGRESQL_LOCK_TIMEOUT_MS}"))
    connection.execute(text(f"SET LOCAL statement_timeout = {_WORKS_FOR_MS}"))


def downgrade(connection: Connection, revision: str) -> None:
    """Take migrations back down to a revision; ``base`` takes all back."""
    config = _config()
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


def differences(connection: Connection) -> list[object]:
    """Return what the migrated schema and the table definitions do not agree on."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, all_tables()))


def all_tables() -> MetaData:
    """Return the definitions of all tables of all owners."""
    for module in iter_modules(storage.tables.__path__):
        import_module(f"storage.tables.{module.name}")
    return METADATA


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
