"""Write a migration from the difference between the migrated schema and the table definitions.

    python tools/make_migration.py "what changes"

Read the file it writes before you commit it: autogeneration cannot see a renamed column.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command

from storage.engine import Database
from storage.migrate import _config, _scripts, all_tables

VERSIONS = "storage/migrations/versions"


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write(f"usage: {sys.argv[0]} 'what changes'\n")
        return 2
    all_tables()
    number = len(list(_scripts().walk_revisions())) + 1
    with TemporaryDirectory() as scratch:
        database = Database(f"sqlite:///{Path(scratch) / 'empty.db'}")
        config = _config()
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            config.attributes["batch"] = number > 1
            if number > 1:
                command.upgrade(config, "head")
            command.revision(
                config,
                message=sys.argv[1],
                autogenerate=True,
                rev_id=f"{number:04d}",
            )
        database.dispose()
    for command_line in (["check", "--fix", "-q"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *command_line, VERSIONS], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
