"""What ``telerad up --demo`` does and says once it is ready."""

from collections.abc import Callable

from app.bootstrap import DEMO_PASSPHRASE, Parts
from app.demo import samples
from app.demo.journey import Journey
from app.demo.network import describe, logins
from app.demo.outcome import Outcome
from app.serving import Ports
from worklist import store


def tell(parts: Parts, ports: Ports, *, say: Callable[[str], None]) -> None:
    """Send the chest film through everything, leave CT and MR to be read, print the logins.

    A second start finds the work of the first and sends nothing again.
    """
    with parts.database.reading() as tx:
        known = store.list_cases(tx, limit=1)
    if known:
        say("\nThe demo network and its cases are as you left them.")
    else:
        journey = Journey(parts, ports, say=lambda line: say(f"  {line}"))
        say("\nA chest film travels from C-STORE to the health record:")
        _print(journey.run([samples.film()]), say)
        Journey(parts, ports, say=say).run(samples.shipped()[1:], read=False)
        say("\nA CT and an MR wait in the queue for you to read.")
    say(f"\nDemo logins, all with the password and key passphrase '{DEMO_PASSPHRASE}':")
    for one in logins(describe()):
        say(f"  {one.login:14} {one.name}, {one.what}")


def _print(outcome: Outcome, say: Callable[[str], None]) -> None:
    for stage in outcome.stages:
        mark = "ok  " if stage.ok else "FAIL"
        say(f"  {mark} {stage.name:10} {stage.ms or 0:6} ms  {stage.detail}")
    for one in outcome.unexplained:
        say(f"  FAIL {one.name}: {one.reason}")
