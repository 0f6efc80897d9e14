"""Databases with the schema of this version, without running every migration for each of them."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.engine import Database
from storage.migrate import upgrade


def migrate(database: Database) -> None:
    """Bring a database to the schema; a new SQLite file begins as a copy of a migrated one."""
    path = Path(database.engine.url.database or "")
    if database.dialect == "sqlite" and not path.exists():
        shutil.copyfile(_template().name + "/telerad.db", path)
    upgrade(database)


@cache
def _template() -> "TemporaryDirectory[str]":
    """Return the folder of a migrated, empty SQLite file, made once in a test process."""
    folder = TemporaryDirectory(prefix="migrated-")  # gone with the process
    database = Database(f"sqlite:///{folder.name}/telerad.db")
    upgrade(database)
    database.dispose()  # the last connection brings what is in its log into the file
    return folder
