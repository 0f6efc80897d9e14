"""What ``telerad up --demo`` does and says once it is ready."""

import click

from app.bootstrap import DEMO_PASSPHRASE, Parts
from app.demo import samples
from app.demo.journey import Journey, Outcome
from app.demo.network import logins
from app.serving import Ports
from worklist import store


def tell(parts: Parts, ports: Ports) -> None:
    """Send the chest film through everything, leave CT and MR to be read, print the logins.

    A second start finds the work of the first and sends nothing again.
    """
    with parts.database.reading() as tx:
        known = store.list_cases(tx, limit=1)
    if known:
        click.echo("\nThe demo network and its cases are as you left them.")
    else:
        journey = Journey(parts, ports, say=lambda line: click.echo(f"  {line}"))
        click.echo("\nA chest film travels from C-STORE to the health record:")
        _print(journey.run([samples.film()]))
        Journey(parts, ports, say=click.echo).run(samples.shipped()[1:], read=False)
        click.echo("\nA CT and an MR wait in the queue for you to read.")
    click.echo(f"\nDemo logins, all with the password and key passphrase '{DEMO_PASSPHRASE}':")
    for one in logins():
        click.echo(f"  {one.login:14} {one.name}, {one.what}")


def _print(outcome: Outcome) -> None:
    for stage in outcome.stages.values():
        mark = "ok  " if stage.ok else "FAIL"
        click.echo(f"  {mark} {stage.name:10} {stage.ms or 0:6} ms  {stage.detail}")
    for one in outcome.unexplained:
        click.echo(f"  FAIL {one.name}: {one.reason}")
