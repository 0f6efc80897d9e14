"""A process stops when it is told to, whenever the signal comes."""

import subprocess
import sys

PATIENCE_S = 60

WAITS_WHILE_ANOTHER_THREAD_IS_TOLD = """
import signal, threading
from pathlib import Path
from app.serving import until_signal

main = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
waits = threading.Event()

def be_told():
    waits.wait()
    while ") S " not in main.read_text():
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

with until_signal() as told:
    threading.Thread(target=be_told).start()
    waits.set()
    told.wait()
print("stopped")
"""


def test_a_signal_that_another_thread_takes_ends_the_wait() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITS_WHILE_ANOTHER_THREAD_IS_TOLD],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.splitlines()[-1] == "stopped"


def test_handlers_are_as_before_afterwards() -> None:
    code = (
        "import signal\n"
        "from app.serving import until_signal\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "with until_signal():\n"
        "    assert signal.getsignal(signal.SIGTERM) != before\n"
        "assert signal.getsignal(signal.SIGTERM) == before\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)
