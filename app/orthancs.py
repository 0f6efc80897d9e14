"""Registering Orthancs: the row that all hosts share, and the password that each keeps apart.

A password is a file in the keys directory that only its owner reads, beside the other secrets of
this host: never in the database, whose copies travel, nor in an address or a log.
"""

import os
from pathlib import Path

from dicom_node import orthanc_store as store
from dicom_node.errors import OrthancInvalid
from dicom_node.orthancs import MAX_ORTHANCS, Orthanc, checked
from kernel.digest import sha256_of
from kernel.people import Actor
from storage import audit
from storage.engine import Transaction

MAX_PASSWORD = 1000


def add(tx: Transaction, orthanc: Orthanc, *, by: Actor) -> Orthanc:
    """Register an Orthanc, or change the one with this name.

    Raises
    ------
    OrthancInvalid
        It cannot be one, or there are too many.
    """
    checked(orthanc)
    known = {each.name for each, _ in store.listed(tx)}
    if orthanc.name not in known and len(known) >= MAX_ORTHANCS:
        raise OrthancInvalid(f"at most {MAX_ORTHANCS} Orthancs are followed")
    store.save(tx, orthanc)
    _record(tx, "orthanc.added", orthanc.name, by, organisation_id=orthanc.organisation_id)
    return orthanc


def remove(tx: Transaction, name: str, *, by: Actor) -> None:
    """Follow an Orthanc no longer; what came from it stays."""
    store.remove(tx, name)
    _record(tx, "orthanc.removed", name, by)


def start_over(tx: Transaction, name: str, *, by: Actor) -> None:
    """Look through all changes of an Orthanc again; what is here is not pulled twice."""
    store.start_over(tx, name, why="somebody asked for it")
    _record(tx, "orthanc.started_over", name, by)


def password_file(keys: Path, name: str) -> Path:
    """Return where the password of an Orthanc lies on this host."""
    return keys / f"orthanc-{sha256_of(name.encode())[:16]}.password"


def password_of(keys: Path, name: str) -> str:
    """Return the password of an Orthanc; empty where this host has none."""
    try:
        return password_file(keys, name).read_text("utf-8")
    except FileNotFoundError:
        return ""


def keep_password(keys: Path, name: str, password: str) -> None:
    """Keep a password on this host, or forget it if it is empty.

    Raises
    ------
    OrthancInvalid
        It cannot be a password.
    """
    if len(password) > MAX_PASSWORD or any(ord(c) < 32 for c in password):
        raise OrthancInvalid("a password has at most 1000 characters and no control characters")
    file = password_file(keys, name)
    if not password:
        file.unlink(missing_ok=True)
        return
    keys.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(password)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(file)


def _record(tx: Transaction, action: str, name: str, by: Actor, **detail: str) -> None:
    audit.record(tx, actor=by, action=action, subject=f"orthanc:{name}", detail=detail)
