"""Rows of people, sessions, failed attempts and tokens."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from app.identity.attempts import WINDOW, Failure
from app.identity.person import Machine, Person, Scope
from kernel.people import Role
from storage.engine import Transaction
from storage.prepared import Prepared
from storage.tables.identity import API_TOKENS, SESSIONS, SIGN_IN_FAILURES, USERS


@dataclass(frozen=True, slots=True)
class Credentials:
    """A person with the hash of the password and whether the account is open."""

    person: Person
    password_hash: str
    active: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a person, as stored."""

    token_sha256: str
    person: Person
    seen_at: datetime
    expires_at: datetime


def add_user(tx: Transaction, person: Person, password_hash: str) -> None:
    """Insert a person."""
    tx.execute(
        insert(USERS).values(
            id=person.id,
            login=person.login,
            password_hash=password_hash,
            name=person.name,
            roles=sorted(role.value for role in person.roles),
            organisation_id=person.organisation_id,
            reader_id=person.reader_id,
            patient_ref=person.patient_ref,
            active=True,
            created_at=tx.at,
        )
    )


def by_login(tx: Transaction, login: str) -> Credentials | None:
    """Return the person of a login, None if nobody has it."""
    row = tx.execute(select(USERS).where(USERS.c.login == login)).mappings().first()
    return None if row is None else Credentials(_person(row), row["password_hash"], row["active"])


def set_password(tx: Transaction, user_id: str, password_hash: str) -> None:
    """Replace the hash of a person."""
    tx.execute(update(USERS).where(USERS.c.id == user_id).values(password_hash=password_hash))


def set_active(tx: Transaction, user_id: str, active: bool) -> None:
    """Open or close an account."""
    tx.execute(update(USERS).where(USERS.c.id == user_id).values(active=active))


def names(tx: Transaction, refs: Iterable[str]) -> dict[str, str]:
    """Return the names behind actor references: ``user:…``, ``reader:…`` and ``token:…``."""
    wanted = {tuple(ref.split(":", 1)) for ref in refs if ":" in ref}
    users = [id for kind, id in wanted if kind == "user"]
    readers = [id for kind, id in wanted if kind == "reader"]
    tokens = [id for kind, id in wanted if kind == "token"]
    return _people(tx, users, readers) | _programs(tx, tokens)


def _programs(tx: Transaction, tokens: list[str]) -> dict[str, str]:
    if not tokens:
        return {}
    wanted = select(API_TOKENS.c.id, API_TOKENS.c.name).where(API_TOKENS.c.id.in_(tokens))
    return {f"token:{row.id}": f"program {row.name}" for row in tx.execute(wanted)}


def _people(tx: Transaction, users: list[str], readers: list[str]) -> dict[str, str]:
    if not users and not readers:
        return {}
    found = tx.execute(
        select(USERS.c.id, USERS.c.reader_id, USERS.c.name).where(
            or_(USERS.c.id.in_(users), USERS.c.reader_id.in_(readers))
        )
    ).all()
    by_user = {f"user:{row.id}": row.name for row in found}
    return by_user | {f"reader:{row.reader_id}": row.name for row in found if row.reader_id}


def all_users(tx: Transaction) -> list[Person]:
    """Return every person with an open account."""
    found = tx.execute(select(USERS).where(USERS.c.active.is_(True)).order_by(USERS.c.login))
    return [_person(row) for row in found.mappings()]


def accounts(tx: Transaction) -> list[Credentials]:
    """Return every account, closed ones too, in the order of the logins."""
    found = tx.execute(select(USERS).order_by(USERS.c.login)).mappings()
    return [Credentials(_person(row), row["password_hash"], row["active"]) for row in found]


def start_session(
    tx: Transaction, *, token_sha256: str, user_id: str, expires_at: datetime
) -> None:
    """Insert a session; sessions that have run out are swept away on the way."""
    tx.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= tx.at))
    tx.execute(
        insert(SESSIONS).values(
            token_sha256=token_sha256,
            user_id=user_id,
            started_at=tx.at,
            seen_at=tx.at,
            expires_at=expires_at,
        )
    )


def session(tx: Transaction, token_sha256: str) -> Session | None:
    """Return the living session of a token, None if it ran out or the account is closed."""
    row = (
        tx.execute(
            select(USERS, SESSIONS.c.token_sha256, SESSIONS.c.seen_at, SESSIONS.c.expires_at)
            .join(SESSIONS, SESSIONS.c.user_id == USERS.c.id)
            .where(
                SESSIONS.c.token_sha256 == token_sha256,
                SESSIONS.c.expires_at > tx.at,
                USERS.c.active.is_(True),
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    return Session(row["token_sha256"], _person(row), row["seen_at"], row["expires_at"])


def touch_session(tx: Transaction, token_sha256: str, expires_at: datetime) -> None:
    """Note that a session is in use."""
    tx.execute(
        update(SESSIONS)
        .where(SESSIONS.c.token_sha256 == token_sha256)
        .values(seen_at=tx.at, expires_at=expires_at)
    )


def session_started(tx: Transaction, token_sha256: str) -> datetime | None:
    """Return when a session began."""
    found: datetime | None = tx.execute(
        select(SESSIONS.c.started_at).where(SESSIONS.c.token_sha256 == token_sha256)
    ).scalar_one_or_none()
    return found


def end_session(tx: Transaction, token_sha256: str) -> None:
    """Delete a session."""
    tx.execute(delete(SESSIONS).where(SESSIONS.c.token_sha256 == token_sha256))


def end_sessions_of(tx: Transaction, user_id: str) -> None:
    """Delete every session of a person."""
    tx.execute(delete(SESSIONS).where(SESSIONS.c.user_id == user_id))


def add_failure(tx: Transaction, *, login_sha256: str, source: str) -> None:
    """Note a failed attempt; those outside the window are swept away on the way."""
    tx.execute(delete(SIGN_IN_FAILURES).where(SIGN_IN_FAILURES.c.at <= tx.at - WINDOW))
    tx.execute(insert(SIGN_IN_FAILURES).values(login_sha256=login_sha256, source=source, at=tx.at))


def failures(tx: Transaction, *, login_sha256: str, source: str) -> list[Failure]:
    """Return the failed attempts of the window that share the login or the source."""
    table = SIGN_IN_FAILURES.c
    found = tx.execute(
        select(table.at, table.login_sha256, table.source).where(
            or_(table.login_sha256 == login_sha256, table.source == source),
            table.at > tx.at - WINDOW,
        )
    )
    return [
        Failure(row.at, row.login_sha256 == login_sha256, row.source == source) for row in found
    ]


def clear_failures(tx: Transaction, *, login_sha256: str, source: str) -> None:
    """Forget the failures of a login from a source: the right person has come."""
    table = SIGN_IN_FAILURES.c
    tx.execute(
        delete(SIGN_IN_FAILURES).where(table.login_sha256 == login_sha256, table.source == source)
    )


def add_token(tx: Transaction, machine: Machine, token_sha256: str) -> None:
    """Insert a bearer token."""
    tx.execute(
        insert(API_TOKENS).values(
            id=machine.id,
            name=machine.name,
            token_sha256=token_sha256,
            scopes=sorted(scope.value for scope in machine.scopes),
            organisation_id=machine.organisation_id,
            created_at=tx.at,
        )
    )


def revoke_token(tx: Transaction, token_id: str) -> bool:
    """End a bearer token; False if there is none to end."""
    return (
        tx.execute(
            update(API_TOKENS)
            .where(API_TOKENS.c.id == token_id, API_TOKENS.c.revoked_at.is_(None))
            .values(revoked_at=tx.at)
        ).rowcount
        == 1
    )


def tokens(tx: Transaction) -> list[tuple[Machine, datetime]]:
    """Return the machines of the bearer tokens that are good, and when each was added."""
    found = tx.execute(
        select(API_TOKENS)
        .where(API_TOKENS.c.revoked_at.is_(None))
        .order_by(API_TOKENS.c.created_at)
    )
    return [
        (
            Machine(row.id, row.name, frozenset(map(Scope, row.scopes)), row.organisation_id),
            row.created_at,
        )
        for row in found
    ]


def machine(tx: Transaction, token_sha256: str) -> Machine | None:
    """Return the machine of a living bearer token."""
    found = tx.rows(_TOKEN, (token_sha256,))
    if not found:
        return None
    ((machine_id, name, held, organisation_id),) = found
    scopes = json.loads(held) if isinstance(held, str) else held  # as the driver has it
    return Machine(machine_id, name, frozenset(map(Scope, scopes)), organisation_id)


_TOKEN = Prepared.on_both(
    lambda _: select(
        API_TOKENS.c.id, API_TOKENS.c.name, API_TOKENS.c.scopes, API_TOKENS.c.organisation_id
    ).where(API_TOKENS.c.token_sha256 == bindparam("shown"), API_TOKENS.c.revoked_at.is_(None)),
    ("shown",),
)


def _person(row: RowMapping | dict[str, Any]) -> Person:
    return Person(
        id=row["id"],
        login=row["login"],
        name=row["name"],
        roles=frozenset(Role(name) for name in row["roles"]),
        organisation_id=row["organisation_id"],
        reader_id=row["reader_id"],
        patient_ref=row["patient_ref"],
    )
