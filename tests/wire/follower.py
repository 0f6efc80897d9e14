"""A node that follows and says when it holds a number of instances; killed by its tests."""

import sys
import threading
from pathlib import Path

from dicom_node.followers import Followers
from tests.wire.test_orthanc import Node


def main() -> None:
    """Follow what is registered in a folder until killed."""
    node = Node(Path(sys.argv[1]))
    from dicom_node.recovery import admit_record
    from storage import recovery

    recovery.recover(node.database, node.journal, admit_record)
    stop = threading.Event()
    Followers(node.database, node.following, stop).start()
    while len(node.held()) < int(sys.argv[2]):
        stop.wait(0.005)
    sys.stdout.write("there\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
