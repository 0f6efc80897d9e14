"""One process that the supervisor forked, and what it said when it could not start."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from app.vigil import Patience, Vigil
from kernel.errors import EngineError, Misconfigured

Ready = Callable[[], None]
Live = Callable[[Ready, bool], None]
"""What a process does: told whom to tell that it serves, and whether it did so before."""

READY = b"{}\n"


class StartRefused(Misconfigured):
    """A process of the engine could not start; the sentence is its own."""

    code = "supervisor.start_refused"


class ProcessFailed(EngineError):
    """A process of the engine failed at its start in a way nobody foresaw."""

    code = "supervisor.process_failed"


@dataclass
class Child:
    """A process that is, or is to be, kept alive."""

    name: str
    live: Live
    pid: int = 0
    pipe: int = -1
    said: bytearray = field(default_factory=bytearray)
    began_s: float = 0.0
    due_s: float | None = None
    deaths: int = 0
    """In a row, none of which had served steadily before."""
    served: bool = False
    ready: bool = False
    how: str = ""
    """It ended, once it did; empty if that was well."""
    vigil: Vigil = field(default_factory=lambda: Vigil(Patience()))
    spared: int = 0
    """Looks at it that may still find it silent, for it could not have shown life."""
    hangs: bool = False
    kill_s: float | None = None
    """When it is killed, if it hangs and was not yet."""

    @property
    def is_watched(self) -> bool:
        """Whether it is to show life."""
        return bool(self.pid) and not self.hangs

    def begun(self, pid: int, pipe: int, at_s: float) -> None:
        """Note that it was forked."""
        self.pid, self.pipe, self.began_s, self.hangs = pid, pipe, at_s, False

    def ended(self, how: str) -> None:
        """Note that it is no more."""
        self.pid, self.ready, self.kill_s, self.how = 0, False, None, how

    def sentence(self) -> str | None:
        """Return the sentence with which it refused."""
        if not self.said:
            return None
        sentence: str | None = json.loads(self.said)[0]
        return sentence

    def refusal(self) -> EngineError:
        """Return what its end at the start means."""
        said = self.sentence()
        if said:
            return StartRefused(said)
        return ProcessFailed(
            f"the {self.name} process ended {self.how} while it started; the log says why"
        )


def tell(pipe: int, said: bytes) -> None:
    """Say something to the supervisor, in the child."""
    os.write(pipe, said)
