"""One node in a process of its own, to be killed once: ``python -m tests.wire.lone FOLDER``."""

import sys
import threading
from pathlib import Path

from tests.wire.conftest import start

if __name__ == "__main__":
    node = start(Path(sys.argv[1]))
    sys.stdout.write(f"port {node.port}\n")
    sys.stdout.flush()
    threading.Event().wait()
