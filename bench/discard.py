"""``python -m bench.discard PORT``: the receiving path with nothing behind it.

The listener, the pump and the answers are those of the node; what arrives is dropped.  It tells
what receiving costs, beside ``storescp --ignore``, which does the same.
"""

import signal
import sys
import threading

from bench.servers import AE_TITLE, CALLER
from dicom_node.admission import Announced, Source
from dicom_node.intake import Answer, Arriving, Intake
from dicom_node.listener import Listener, ListenerSettings
from dicom_node.peers import Peer
from dicom_node.statuses import Outcome
from storage.frame import Frame


class _Dropped(Arriving):
    """Takes an instance and keeps nothing of it."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def room(self, size: int) -> memoryview:
        return self._frame.body

    def filled(self, size: int) -> None:
        pass

    def finish(self) -> Answer:
        return Answer(Outcome.STORED)

    def discard(self) -> None:
        pass


class _Nowhere(Intake):
    def __init__(self) -> None:
        pass

    def begin(self, announced: Announced, source: Source, frame: Frame) -> Arriving:
        return _Dropped(frame)


def main(port: int) -> None:
    """Serve until a signal."""
    peer = Peer(ae_title=CALLER, host="127.0.0.1", port=104, organisation_id="", issuer="")
    listener = Listener(
        ListenerSettings(ae_title=AE_TITLE, port=port),
        _Nowhere(),
        lambda title: peer if title == CALLER else None,
    )
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: told.set())
    listener.start()
    told.wait()
    listener.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
