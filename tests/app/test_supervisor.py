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


STANDS_WHILE_IT_STARTS = """
import os, signal, sys, time
from pathlib import Path
from app.board import Part
from app.supervisor import Supervisor
from app.vigil import Patience

folder = Path(sys.argv[1])

def stands(ready, again):
    life = len(list(folder.glob("life-*")))
    (folder / f"life-{life}").touch()
    if life in (0, 2):  # at the first start of all, and after it had served
        os.kill(os.getpid(), signal.SIGSTOP)
    ready()
    if life == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)

def takes_long(ready, again):
    starting = supervisor.pulse("takes_long", Part.STARTING)
    sees_the_last(starting.beat)  # so it takes longer than two starts that stood
    ready()
    time.sleep(600)

def sees_the_last(meanwhile=lambda: None):
    while not (folder / "life-3").exists():
        meanwhile()
        time.sleep(0.01)

def waits(ready, again):
    supervisor.wait_at_gate(supervisor.pulse("waits", Part.STARTING))
    ready()
    time.sleep(600)

names = ("stands", "takes_long", "waits")
with Supervisor(*names, patience=Patience(0, 0, start_s=1)) as supervisor:
    for name in names:
        supervisor.keep(name, globals()[name])
    supervisor.once("sees", sees_the_last)
    supervisor.open_gate()
    print(supervisor.wait_until_ready())
    print([supervisor.board.told_of(name) for name in names])
"""


def test_a_start_that_stands_is_begun_anew_and_one_that_goes_on_or_waits_is_left(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STANDS_WHILE_IT_STARTS, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )

    why = "well; started anew 3 times, at last because its start went no further"
    assert done.stdout.splitlines()[-2:] == ["True", str([why, None, None])], done.stderr
    told = [line for line in done.stdout.splitlines() if "supervisor.process_hangs" in line]
    assert len(told) == 2
    assert all("starting" in line for line in told)


A_RELAY_STANDS = """
import os, sys, threading, time
from pathlib import Path
from app.board import Part
from app.relay import InProcess, Relay
from app.supervisor import Supervisor
from app.vigil import Patience
from storage.engine import Database
from storage.migrate import upgrade
from storage.work import DueWork

folder = Path(sys.argv[1])

def relays(name, ready, due, run):
    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    pulse = supervisor.pulse(name, Part.RELAYING)
    work = [DueWork(name="work", queue="default", due=due, run=run)]
    relay = Relay(database, {}, work, InProcess(database, {}), pulse=pulse)
    threading.Thread(target=relay.run, name="relay").start()
    ready()
    time.sleep(600)

def looks(ready, again):
    def due(_tx):
        if not again:
            where_it_looks()
        (folder / "again").touch()
        return []

    relays("looks", ready, due, print)

def where_it_looks():
    time.sleep(600)

def works(ready, again):
    assert not again, "a thread of its own worked, and the relay looked on"
    relays("works", ready, lambda _tx: ["one"], lambda _id: time.sleep(600))

def sees_again():
    while not (folder / "again").exists():
        time.sleep(0.01)

def migrated():
    upgrade(Database(f"sqlite:///{folder / 'telerad.db'}"))

with Supervisor("looks", "works", patience=Patience(0, stuck_s=2, start_s=0)) as supervisor:
    supervisor.once("migrates", migrated)
    supervisor.keep("looks", looks)
    supervisor.keep("works", works)
    supervisor.once("sees", sees_again)
    print([supervisor.board.told_of(name) for name in ("looks", "works")])
"""


def test_a_relay_that_stands_is_found_and_work_that_takes_long_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", A_RELAY_STANDS, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )

    why = "well; started anew once, because its relay handed nothing over"
    assert done.stdout.splitlines()[-1:] == [str([why, None])], done.stderr
    assert "in where_it_looks" in done.stderr
