"""``telerad up``: a supervisor, and the two processes that it keeps alive.

The node takes instances in and does nothing else, so it stays small and shares its interpreter
with nobody.  The web process does all the rest: pages and DICOMweb, the relay and its work,
packing, scrub, the Orthancs that are followed.
"""

import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.board import Part
from app.bootstrap import Parts
from app.child import Ready
from app.serving import Duty, Ports, Serving, preload, until_signal
from app.supervisor import Supervisor
from app.vigil import Patience
from dicom_node.ports import Sockets, bound, listening
from kernel.pulse import Pulse

if TYPE_CHECKING:
    from app.settings import Settings

NODE, WEB = "node", "web"
_BESIDE_THE_NODE = frozenset({Duty.WEB, Duty.RELAY, Duty.UPKEEP, Duty.FOLLOWING})


@dataclass(frozen=True, slots=True)
class Up:
    """What is common to the processes; each opens its own database and journal.

    Parameters
    ----------
    settings
        Read once, before anything is forked.
    prepare
        Brings the data directory to what this version needs.
    """

    settings: "Settings"
    prepare: Callable[[Parts], None]

    def serve(
        self, announce: Callable[[Ports], None], story: Callable[[Parts, Ports], None] | None
    ) -> None:
        """Serve until a signal.

        Parameters
        ----------
        announce
            Told the ports once all is served.
        story
            Told then as well, in a process of its own.

        Raises
        ------
        EngineError
            The engine cannot start, and why.
        """
        told = self.settings
        dicom = bound(told.dicom.host, told.dicom.port, told.dicom.tls_port)
        http = listening(told.web.host, told.web.port)
        ports = _ports(dicom, http)
        bounds = told.supervisor
        patience = Patience(bounds.silent_s, bounds.stuck_s, bounds.start_s)
        with Supervisor(NODE, WEB, patience=patience) as supervisor:
            supervisor.keep(NODE, lambda ready, _again: self._node(supervisor, dicom, ready))
            supervisor.keep(WEB, lambda ready, again: self._web(supervisor, http, ready, again))
            if not supervisor.once("start", self._prepare):
                return
            supervisor.open_gate()
            if not supervisor.wait_until_ready():
                return
            announce(ports)
            if story is not None:
                supervisor.aside("demo", lambda: story(Parts(self.settings), ports))
            supervisor.watch()

    def _prepare(self) -> None:
        parts = Parts(self.settings)
        self.prepare(parts)
        parts.database.dispose()

    def _node(self, supervisor: Supervisor, dicom: Sockets, ready: Ready) -> None:
        parts = Parts(self.settings, pulse_of=lambda part: supervisor.pulse(NODE, part))
        self._wait(supervisor, {Duty.NODE}, parts.pulse_of(Part.STARTING))
        serving = Serving(parts, {Duty.NODE})
        _until_signal(serving, lambda: serving.start(dicom=dicom), ready)

    def _web(self, supervisor: Supervisor, http: socket.socket, ready: Ready, again: bool) -> None:
        parts = Parts(self.settings, pulse_of=lambda part: supervisor.pulse(WEB, part))
        self._wait(supervisor, _BESIDE_THE_NODE, parts.pulse_of(Part.STARTING))
        board = supervisor.board
        serving = Serving(
            parts,
            _BESIDE_THE_NODE,
            recovers=again,  # at first the node does
            ready_checks={
                "dicom": lambda: board.require_serving(NODE),
                "web": lambda: board.told_of(WEB),
            },
        )
        _until_signal(serving, lambda: serving.start(http=http), ready)

    def _wait(self, supervisor: Supervisor, duties: Collection[Duty], starting: Pulse) -> None:
        """Wait until the data directory is prepared, and import meanwhile what comes next."""
        preload(duties, starting)
        supervisor.wait_at_gate(starting)


def _until_signal(serving: Serving, start: Callable[[], Ports], ready: Ready) -> None:
    with until_signal() as told_to_stop:
        try:
            start()
            ready()
            told_to_stop.wait()
        finally:
            serving.stop()


def _ports(dicom: Sockets, http: socket.socket) -> Ports:
    return Ports(
        http.getsockname()[1],
        dicom.plain.getsockname()[1],
        dicom.tls.getsockname()[1] if dicom.tls else None,
    )
