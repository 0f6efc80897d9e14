"""A clinic in a process of its own, to be killed: ``python -m tests.app.victim FOLDER``."""

import sys
import threading
from pathlib import Path

from tests.app.clinic import Clinic

if __name__ == "__main__":
    clinic = Clinic(Path(sys.argv[1]))
    program = clinic.program("dicomweb:read dicomweb:write")
    sys.stdout.write(f"serves {clinic.server.url} {program.headers['authorization']}\n")
    sys.stdout.flush()
    threading.Event().wait()
