"""Commands that look after a running engine: what is wrong, what waits, is all still true."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from app.bootstrap import Parts
from app.cli.options import data_option, json_option, parts_of
from app.settings import masked
from kernel.errors import EngineError

MIN_FREE_GB = 2


@click.command()
@data_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Print every setting (secrets masked) and check that this machine can carry the engine."""
    from app.bootstrap import Parts
    from app.settings import load

    settings = load(data)
    checks = list(_checks(Parts(settings)))
    if as_json:
        shown = {name: str(value) for name, value in masked(settings).items()}
        told = [{"check": name, "ok": ok, "detail": detail} for name, ok, detail in checks]
        click.echo(json.dumps({"settings": shown, "checks": told}))
    else:
        for name, value in masked(settings).items():
            click.echo(f"  {name:36} {value}")
        for name, ok, detail in checks:
            click.echo(f"{'ok  ' if ok else 'FAIL'} {name}: {detail}")
    ctx.exit(0 if all(ok for _, ok, _ in checks) else 1)


@click.command()
@data_option
@click.option("--fact", "fact_seq", type=int, help="Only this fact.")
@click.option("--consumer", help="Only this consumer.")
@click.option("--list", "only_list", is_flag=True, help="Show what is parked, replay nothing.")
def replay(data: Path, fact_seq: int | None, consumer: str | None, only_list: bool) -> None:
    """Take up parked facts and deliveries again, after their reason was mended."""
    from health_record import commands as health_record
    from health_record.delivery import DeliveryState
    from kernel.people import Actor, Role
    from storage import outbox

    parts = parts_of(data)
    with parts.database.reading() as tx:
        parked = outbox.parked(tx)
        deliveries = [
            *health_record.list_deliveries(
                tx, states=(DeliveryState.PARKED, DeliveryState.REJECTED)
            )
        ]
    for one in parked:
        click.echo(f"fact {one.fact_seq} {one.kind} for {one.consumer}: {one.reason}")
    for delivery in deliveries:
        click.echo(f"delivery {delivery.id} to {delivery.destination}: {delivery.refusal}")
    if only_list:
        return
    by = Actor(ref="system:cli", role=Role.ADMINISTRATOR)
    with parts.database.transaction() as tx:
        again = outbox.replay(tx, fact_seq=fact_seq, consumer=consumer)
        if fact_seq is None and consumer is None:
            for delivery in deliveries:
                health_record.replay(tx, delivery.id, actor=by)
                again += 1
    click.echo(f"{again} taken up again.")


@click.command()
def states() -> None:
    """Print the state tables of every state machine as Markdown (docs/states.md)."""
    from app.states import markdown

    click.echo(markdown(), nl=False)


@click.command()
@click.argument("model", type=click.Choice(["cxr-qc"]))
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--left-out", is_flag=True, help="Also measure with each source left out, for the card."
)
def train(model: str, data: Path, out: Path | None, left_out: bool) -> None:
    """Train a model that is shipped, from labelled films, into a MONAI bundle.

    Needs the extra 'train' (torch, monai, onnx).
    """
    from ai_assist.shelf import shipped_models
    from ai_assist.training import cxr_qc
    from kernel.clock import system_clock

    bundle = cxr_qc.train(
        data,
        out or shipped_models(),
        progress=lambda line: click.echo(line, err=True),
        at=system_clock(),
        left_out=left_out,
    )
    click.echo(f"The {model} bundle lies in {bundle}.")


@click.command()
@data_option
@json_option
@click.pass_context
def verify(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Re-read everything against its digests: audit chain, journal, packs, manifests, signatures.

    Exits with status 1 if anything is not what it was.
    """
    parts = parts_of(data)

    def say(name: str, problems: list[str]) -> None:
        if not as_json:
            click.echo(f"{'FAIL' if problems else 'ok  '} {name}")
            for problem in problems:
                click.echo(f"     {problem}")

    found = problems_of(parts, told=say)
    if as_json:
        click.echo(json.dumps({"ok": not found, "problems": found}))
    ctx.exit(1 if found else 0)


def problems_of(
    parts: Parts, *, told: Callable[[str, list[str]], None] = lambda _name, _problems: None
) -> dict[str, list[str]]:
    """Re-read everything; return what is not what it was, by kind; tell each kind as it ends."""
    found = {}
    for name, look in _verifications(parts):
        problems = list(look)
        told(name, problems)
        if problems:
            found[name] = problems
    return found


def _verifications(parts: Parts) -> Iterator[tuple[str, Iterable[str]]]:
    from reporting.inspection import verify_all
    from storage import archive, audit
    from storage.packs import verify_packs

    with parts.database.reading() as tx:
        yield "audit", list(audit.verify(tx))
        yield "manifests", list(archive.verify_manifests(tx))
    yield "journal", parts.archive.verify()
    yield "packs", verify_packs(parts.database, parts.objects)
    yield (
        "signatures",
        (
            f"report {finding.report_id} version {finding.version}: {finding.problem}"
            for finding in verify_all(parts.database, parts.objects, parts.trust)
            if finding.problem
        ),
    )


def _checks(parts: Parts) -> Iterator[tuple[str, bool, str]]:
    yield "python", sys.version_info >= (3, 11), sys.version.split()[0]
    data = parts.settings.data
    data.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(data).free / 1e9
    yield "disk", free_gb >= MIN_FREE_GB, f"{free_gb:.0f} GB free at {data}"
    yield _tried("database", lambda: parts.prepare(migrate=True), parts.database.dialect)
    yield _tried("object store", lambda: str(parts.objects.probe()))
    yield _tried("models", lambda: _models(parts))
    yield _tried("trust", lambda: f"{len(parts.trust.roots)} signing authorities")


def _models(parts: Parts) -> str:
    for disabled in parts.shelf.disabled:
        raise EngineError(f"{disabled.model}: {disabled.sentence}")
    return ", ".join(f"{card.id} {card.version}" for card in parts.shelf.cards) or "none"


def _tried(name: str, act: object, detail: str = "") -> tuple[str, bool, str]:
    assert callable(act)
    try:
        told = act()
    except EngineError as error:
        return name, False, error.sentence
    return name, True, detail or str(told)
