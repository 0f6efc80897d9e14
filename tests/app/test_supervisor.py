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


HANGS = """
import os, signal, sys, time
from pathlib import Path
from app.board import Part
from app.supervisor import Supervisor
from app.vigil import Patience

folder = Path(sys.argv[1])

def hangs(ready, again):
    pulse = supervisor.pulse("hangs", Part.COMMITTING)
    ready()
    if again:
        (folder / "again").touch()
    else:
        pulse.beat()
        where_it_hangs()
    time.sleep(600)

def where_it_hangs():
    time.sleep(600)

def rests(ready, again):
    assert not again, "nothing was owed"
    pulse = supervisor.pulse("rests", Part.COMMITTING)
    with pulse:
        ready()
    while not (folder / "again").exists():
        time.sleep(0.01)
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(600)

with Supervisor("hangs", "rests", patience=Patience(silent_s=0, stuck_s=0.3)) as supervisor:
    supervisor.keep("hangs", hangs)
    supervisor.keep("rests", rests)
    supervisor.wait_until_ready()
    supervisor.watch()
    print(supervisor.board.told_of("hangs"))
"""


def test_what_hangs_says_where_and_is_started_anew_and_what_rests_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS, tmp_path], capture_output=True, text=True, timeout=60
    )

    assert done.stdout.splitlines()[-1:] == [
        "well; started anew once, because it did not commit what arrived"
    ], done.stderr
    assert "in where_it_hangs" in done.stderr
    told = [line for line in done.stdout.splitlines() if "supervisor.process_hangs" in line]
    assert len(told) == 1
    assert "committing" in told[0]
