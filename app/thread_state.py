"""What the system says of a process that shows no life: somebody debugs it, or a disk holds it.

References
----------
proc(5): ``/proc/pid/status`` TracerPid, ``/proc/pid/task/tid/stat`` state D.
"""

from pathlib import Path

_PROC = Path("/proc")


def is_traced(pid: int, proc: Path = _PROC) -> bool:
    """Say whether a debugger holds a process; False where the system does not tell."""
    try:
        lines = (proc / str(pid) / "status").read_text().splitlines()
    except OSError:
        return False
    traced = [line.split()[1] for line in lines if line.startswith("TracerPid:")]
    return traced not in ([], ["0"])


def waits_for_disk(pid: int, proc: Path = _PROC) -> bool:
    """Say whether a thread of a process waits in the kernel, from where no signal takes it."""
    return any(_state(stat) == "D" for stat in (proc / str(pid) / "task").glob("*/stat"))


def _state(stat: Path) -> str:
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:  # the thread ended meanwhile
        return ""
