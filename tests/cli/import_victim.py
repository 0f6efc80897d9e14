"""Run ``telerad`` with arguments, and be killed where a function is entered or returns.

python -m tests.cli.import_victim MODULE:QUALIFIED.NAME call|return ARGUMENTS OF TELERAD
"""

import sys
import threading

from app.cli import main
from tests.flows.kill_at import kill_at

if __name__ == "__main__":
    target, when, *arguments = sys.argv[1:]
    kill_at(*target.split(":"), event=when, nth=1)
    thread = threading.Thread(target=main, args=(arguments,))
    thread.start()
    thread.join()
