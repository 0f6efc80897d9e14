"""The supervisor by itself: what dies is started anew, whenever that is."""

import subprocess
import sys
from pathlib import Path

DIES_WHILE_ANOTHER_STARTS = """
import os, signal, sys, time
from pathlib import Path
from app.supervisor import Supervisor

folder = Path(sys.argv[1])

def first(ready, again):
    ready()
    if again:
        (folder / "again").touch()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)

def second(ready, again):
    while not (folder / "again").exists():
        time.sleep(0.01)
    ready()
    time.sleep(600)

with Supervisor("first", "second") as supervisor:
    supervisor.keep("first", first)
    supervisor.keep("second", second)
    print(supervisor.wait_until_ready())
"""


def test_what_dies_while_another_still_starts_is_started_anew(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES_WHILE_ANOTHER_STARTS, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr
