"""An earlier version, which knows nothing of removed devices, does not let them in either."""

from sqlalchemy import text

from dicom_node import commands
from dicom_node.peers import Peer
from dicom_node.removal import remove_peer
from kernel.people import ENGINE
from storage.engine import Database
from storage.migrate import downgrade, upgrade

VAN = Peer(ae_title="VAN1", host="h", port=104, organisation_id="o-1", issuer="i", notify=True)


def test_who_was_removed_may_not_call_without_a_certificate_and_is_told_nothing(
    blank: Database,
) -> None:
    upgrade(blank)
    with blank.transaction() as tx:
        commands.add_peer(tx, VAN, actor=ENGINE)
        remove_peer(tx, "VAN1", actor=ENGINE)
    with blank.engine.begin() as connection:
        downgrade(connection, "0029")
        found = connection.execute(text("SELECT tls_required, notify, priors FROM peers")).one()
    assert tuple(map(bool, found)) == (True, False, False)
