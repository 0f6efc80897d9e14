"""The migration that has digests name their algorithm keeps those that are there."""

from sqlalchemy import text

from storage.engine import Database
from storage.migrate import downgrade, upgrade

KEPT = "a" * 64
ARRIVAL = (
    'INSERT INTO arrivals (segment, "offset", length, sha256, outcome, source, received_at)'
    f" VALUES ('n1-1', 0, 10, '{KEPT}', 'stored', 'VAN1', '2026-11-22 09:00:00+00')"
)


def test_digests_of_an_earlier_version_stay_as_they_are(blank: Database) -> None:
    upgrade(blank)
    with blank.engine.begin() as connection:
        downgrade(connection, "0028")
        connection.execute(text(ARRIVAL))

    upgrade(blank)

    longer = f"blake3-{KEPT}"
    with blank.engine.begin() as connection:
        assert connection.execute(text("SELECT digest FROM arrivals")).scalar() == KEPT
        connection.execute(text("UPDATE arrivals SET digest = :digest"), {"digest": longer})
        downgrade(connection, "0028")
        assert connection.execute(text("SELECT sha256 FROM arrivals")).scalar() == longer
