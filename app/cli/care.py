"""Commands that look after a running engine: what is wrong, what waits, is all still true."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.bootstrap import Parts
from app.cli.options import data_option, is_made, json_option, parts_of, require_current
from app.cli.progress import following, say
from app.settings import masked
from kernel.errors import EngineError, Misconfigured

if TYPE_CHECKING:
    from health_record.delivery import Delivery
    from storage.engine import Transaction
    from storage.finding import Finding
    from storage.outbox import Parked

MIN_FREE_GB = 2


class NotWell(EngineError):
    """A look at the archive found what somebody has to do something about."""

    code = "doctor.not_well"


class TrainingToolsMissing(Misconfigured):
    """The extra 'train' is not installed."""

    code = "cli.training_tools_missing"


@click.command()
@data_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Print every setting and check this machine.

    Secrets are masked.  Nothing is changed; exits with status 1 if a check fails.
    """
    from app import logs
    from app.settings import load

    settings = load(data)
    logs.configure(as_json=settings.production)
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
@json_option
def replay(
    data: Path, fact_seq: int | None, consumer: str | None, only_list: bool, as_json: bool
) -> None:
    """Take up again what was parked, once its reason is mended.

    Parked are facts that a consumer could not react to, and deliveries that were given up or
    refused.
    """
    parts = parts_of(data)
    facts, deliveries = _parked(parts, fact_seq, consumer)
    again = 0 if only_list else _take_up(parts, fact_seq, consumer, deliveries)
    if as_json:
        told = {
            "facts": [
                {"fact": f.fact_seq, "kind": f.kind, "consumer": f.consumer, "reason": f.reason}
                for f in facts
            ],
            "deliveries": [
                {"delivery": d.id, "destination": d.destination, "reason": _reason(d)}
                for d in deliveries
            ],
            "taken_up": again,
        }
        click.echo(json.dumps(told))
        return
    for parked in facts:
        click.echo(f"fact {parked.fact_seq} {parked.kind} for {parked.consumer}: {parked.reason}")
    for delivery in deliveries:
        click.echo(f"delivery {delivery.id} to {delivery.destination}: {_reason(delivery)}")
    if not facts and not deliveries:
        click.echo("Nothing is parked.")
    elif not only_list:
        click.echo(f"{again} taken up again.")


def _parked(
    parts: Parts, fact_seq: int | None, consumer: str | None
) -> "tuple[list[Parked], list[Delivery]]":
    """Return what is parked; deliveries only where neither fact nor consumer is named."""
    from health_record import commands as health_record
    from health_record.delivery import DeliveryState
    from storage import outbox

    given_up = (DeliveryState.PARKED, DeliveryState.REJECTED)
    with parts.database.reading() as tx:
        facts = [
            one
            for one in outbox.parked(tx)
            if fact_seq in (None, one.fact_seq) and consumer in (None, one.consumer)
        ]
        if fact_seq is not None or consumer is not None:
            return facts, []
        return facts, [*health_record.list_deliveries(tx, states=given_up)]


def _take_up(
    parts: Parts, fact_seq: int | None, consumer: str | None, deliveries: "list[Delivery]"
) -> int:
    from health_record import commands as health_record
    from kernel.people import Actor, Role
    from storage import outbox

    by = Actor(ref="system:cli", role=Role.ADMINISTRATOR)
    with parts.database.transaction() as tx:
        again = outbox.replay(tx, fact_seq=fact_seq, consumer=consumer)
        for delivery in deliveries:
            health_record.replay(tx, delivery.id, actor=by)
    return again + len(deliveries)


def _reason(delivery: "Delivery") -> str:
    return delivery.refusal.sentence if delivery.refusal else ""


@click.command()
def states() -> None:
    """Print the tables of all states, as in docs/states.md."""
    from app.states import markdown

    click.echo(markdown(), nl=False)


@click.command()
@click.argument("model", type=click.Choice(["cxr-qc"]))
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder with the films and their labels.csv.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the bundle is written instead of among the shipped models.",
)
@click.option(
    "--left-out", is_flag=True, help="Also measure with each source left out, for the card."
)
def train(model: str, data: Path, out: Path | None, left_out: bool) -> None:
    """Train a shipped model from labelled films.

    Writes a MONAI bundle.  Needs the extra 'train' (torch, monai, onnx).
    """
    if find_spec("torch") is None:
        raise TrainingToolsMissing("training needs torch, monai and onnx: install 'telerad[train]'")
    from ai_assist.shelf import shipped_models
    from ai_assist.training import cxr_qc
    from kernel.clock import system_clock

    bundle = cxr_qc.train(
        data,
        out or shipped_models(),
        progress=say,
        at=system_clock(),
        left_out=left_out,
    )
    click.echo(f"The {model} bundle lies in {bundle}.")


@click.command()
@data_option
@json_option
@click.pass_context
def verify(ctx: click.Context, data: Path, as_json: bool) -> None:
    """Re-read everything against its digests.

    That is the audit chain, manifests, journal, packs and signatures.  Exits with status 1 if
    anything is not what it was.
    """
    parts = parts_of(data)

    def tell(name: str, problems: list[str]) -> None:
        click.echo(f"{'FAIL' if problems else 'ok  '} {name}", err=as_json)
        for problem in problems:
            click.echo(f"     {problem}", err=as_json)

    found = problems_of(parts, told=tell)
    if as_json:
        click.echo(json.dumps({"ok": not found, "problems": found}))
    ctx.exit(1 if found else 0)


def problems_of(
    parts: Parts, *, told: Callable[[str, list[str]], None] = lambda _name, _problems: None
) -> dict[str, list[str]]:
    """Re-read everything; return what is not what it was, by kind; tell each kind as it ends."""
    found = {}
    for name, look in _verifications(parts):
        problems: list[str] = []
        try:
            problems.extend(look)
        except EngineError as error:
            problems.append(f"the check could not go on: {error.sentence}")
        told(name, problems)
        if problems:
            found[name] = problems
    return found


def _verifications(parts: Parts) -> Iterator[tuple[str, Iterable[str]]]:
    from reporting import store
    from reporting.inspection import verify_all
    from storage import archive, audit, purge
    from storage.packs import verify_packs

    with parts.database.reading() as tx:
        yield "audit", audit.verify(tx)
        yield "manifests", archive.verify_manifests(tx)
        yield "purged", purge.verify(tx)
        signed = sum(1 for _ in store.all_sealed(tx))
    yield "journal", parts.archive.verify()
    yield "packs", verify_packs(parts.database, parts.stored_objects)
    yield (
        "signatures",
        (
            f"report {finding.report_id} version {finding.version}: {finding.problem}"
            for finding in following(
                verify_all(parts.database, parts.objects, parts.trust), "signatures", length=signed
            )
            if finding.problem
        ),
    )


def _checks(parts: Parts) -> Iterator[tuple[str, bool, str]]:
    yield "python", sys.version_info >= (3, 11), sys.version.split()[0]
    data = parts.settings.data.absolute()
    there = next(folder for folder in (data, *data.parents) if folder.is_dir())
    free_gb = shutil.disk_usage(there).free / 1e9
    yield "disk", free_gb >= MIN_FREE_GB, f"{free_gb:.0f} GB free at {there}"
    writable = os.access(there, os.W_OK)
    yield "data", writable, f"{there} can{'' if writable else 'not'} be written"
    yield _tried("database", lambda: _database(parts))
    yield _tried("object store", lambda: _object_store(parts))
    yield _tried("models", lambda: _models(parts))
    yield _tried("trust", lambda: f"{len(parts.trust.roots)} signing authorities")
    yield _tried("dicom tls", lambda: _dicom_tls(parts))
    yield _tried("earlier versions", lambda: _arrears(parts))
    yield _tried("packing", lambda: _packing(parts))
    yield _tried("packs", lambda: _packs(parts))
    yield _tried("recovery", lambda: _recovery(parts))
    yield _tried("due work", lambda: _due_work(parts))
    production = parts.settings.production and parts.is_demo
    yield "keys", not production, "the demo authority" if parts.is_demo else "no demo authority"


def _dicom_tls(parts: Parts) -> str:
    from app import dicom_tls

    told = parts.settings
    if told.dicom.tls_port is None:
        return "off: titles are taken at their word, from " + ", ".join(told.dicom.plain_networks)
    valid = dicom_tls.require_current(told, at=parts.clock())
    dicom_tls.require_usable(told)
    ending = list(dicom_tls.expiring(told, parts.database)) if is_made(parts) else []
    return "; ".join([valid, *ending])


def _database(parts: Parts) -> str:
    if not is_made(parts):
        return "not made yet: the first 'telerad up' makes it"
    require_current(parts)
    return parts.database.dialect


def _arrears(parts: Parts) -> str:
    """Say what an earlier version did not note, and is read from the stored headers again."""
    from storage import arrears

    studies, kept_aside = 0, 0
    if is_made(parts):
        require_current(parts)
        with parts.database.reading() as tx:
            studies, kept_aside = arrears.left(tx)
    if not studies and not kept_aside:
        return "nothing of theirs is left to be read"
    return (
        f"left to be read: studies {studies}, images in quarantine {kept_aside}; "
        "a running engine does so when it has time"
    )


def _packing(parts: Parts) -> str:
    """Say what is settled and still waits for its pack."""
    from storage import unpacked

    return _found(parts, "nothing is settled yet", lambda: _read(parts, unpacked.waiting))


def _packs(parts: Parts) -> str:
    """Say whose packs can be had from this host."""
    from storage.reach import reach_of

    return _found(
        parts, "nothing is packed yet", lambda: reach_of(parts.database, parts.stored_objects)
    )


def _recovery(parts: Parts) -> str:
    """Say whether a start found records of the journal that it could not index."""
    from storage.unindexed import unindexed

    return _found(parts, "nothing came yet", lambda: _read(parts, unindexed))


def _read(parts: Parts, look: "Callable[[Transaction], Finding]") -> "Finding":
    with parts.database.reading() as tx:
        return look(tx)


def _found(parts: Parts, nothing_yet: str, look: "Callable[[], Finding]") -> str:
    """Return what a look found.

    Raises
    ------
    NotWell
        Somebody has to do something about it.
    """
    if not is_made(parts):
        return nothing_yet
    require_current(parts)
    found = look()
    if not found.is_well:
        raise NotWell(found.sentence)
    return found.sentence


def _due_work(parts: Parts) -> str:
    """Look, as the relay does, for what is due of each kind of work.

    Raises
    ------
    NotWell
        For some the look itself fails.
    """
    from app.relay import in_vain

    if not is_made(parts):
        return "nothing is due yet"
    require_current(parts)
    found, failed = 0, {}
    for work in parts.due_work():
        try:
            with parts.database.reading() as tx:
                found += len(work.due(tx))
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 - of whatever kind it is, that is asked
            failed[work.name] = type(error).__name__
    if failed:
        raise NotWell(in_vain(failed))
    return f"found: {found}"


def _object_store(parts: Parts) -> str:
    told = parts.settings.storage.objects_url
    if not told and not parts.settings.data.exists():
        return "not made yet: the first 'telerad up' makes it"
    parts.objects.probe()
    return told or "local disk"


def _models(parts: Parts) -> str:
    for disabled in parts.shelf.disabled:
        raise EngineError(f"{disabled.model}: {disabled.sentence}")
    return ", ".join(f"{card.id} {card.version}" for card in parts.shelf.cards) or "none"


def _tried(name: str, act: Callable[[], str]) -> tuple[str, bool, str]:
    try:
        return name, True, act()
    except EngineError as error:
        return name, False, error.sentence
    except OSError as error:
        return name, False, error.strerror or str(error)
