"""What the measurements ran on, without saying whose machine it is."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_VERSION = re.compile(r"\d+\.\d+[\w.+~-]*")


@dataclass(frozen=True, slots=True)
class Machine:
    """Cores, memory, kernel and disk, and the versions of what was measured."""

    processor: str
    memory_gb: float
    kernel: str
    file_system: str
    load: float
    versions: dict[str, str]

    def sentences(self) -> list[str]:
        """Return the description for a document."""
        parts = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            f"{os.cpu_count()} cores of {self.processor}, {self.memory_gb:.0f} GB memory, "
            f"Linux {self.kernel}, data on {self.file_system}.",
            f"Versions: {parts}.",
            f"Load average of the machine when it began: {self.load:.1f}.",
        ]


def described(scratch: Path) -> Machine:
    """Describe this machine; `scratch` is where the measured servers keep their data."""
    return Machine(
        processor=_first("/proc/cpuinfo", "model name"),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        kernel=platform.release().split("-")[0],
        file_system=_told("stat", "-f", "-c", "%T", str(scratch)).strip(),
        load=os.getloadavg()[0],
        versions={
            "telerad": version("telerad"),
            "Python": platform.python_version(),
            "pydicom": version("pydicom"),
            "pynetdicom": version("pynetdicom"),
            "Orthanc": _version("/usr/sbin/Orthanc", "--version"),
            "DCMTK": _version("storescu", "--version"),
        },
    )


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(*command: str) -> str:
    found = _VERSION.search(_told(*command))
    return found[0] if found else "of unknown version"


def _told(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
