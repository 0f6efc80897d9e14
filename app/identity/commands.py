"""Letting people and machines in, and out again; each function takes an open transaction."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from app.identity import store
from app.identity.attempts import Limits, pause
from app.identity.errors import (
    LoginInvalid,
    LoginTaken,
    SignInRefused,
    TokenUnknown,
    TooManyAttempts,
    UserUnknown,
)
from app.identity.password import hash_of
from app.identity.person import Machine, Person, scopes_of
from app.identity.secret import digest, new_token
from kernel.ids import fresh
from kernel.people import ENGINE, Actor, Role
from storage import audit
from storage.engine import Transaction

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@+-]{1,118}")
_TOUCH_EVERY = timedelta(minutes=1)  # a write for every request would make readers wait


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """How long a session lasts."""

    idle: timedelta = timedelta(hours=1)  # a forgotten screen in a reading room closes itself
    longest: timedelta = timedelta(hours=12)  # one long shift, then the password again


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that was just shown to be living."""

    person: Person
    stale: bool


def add_user(
    tx: Transaction,
    *,
    login: str,
    password: str,
    name: str,
    roles: Iterable[Role],
    organisation_id: str | None = None,
    reader_id: str | None = None,
    patient_ref: str | None = None,
    by: Actor = ENGINE,
) -> str:
    """Add a person who can sign in; return the id.

    The hash is made inside the transaction: adding people is rare and done by hand.

    Raises
    ------
    LoginInvalid
        The login, password or roles cannot be those of a person.
    LoginTaken
        Another person has this login.
    """
    folded = login.strip().lower()
    kinds = frozenset(roles)
    _check_user(folded, kinds, reader_id, patient_ref)
    if store.by_login(tx, folded) is not None:
        raise LoginTaken(f"the login {folded} is taken")
    person = Person(
        id=fresh(),
        login=folded,
        name=name,
        roles=kinds,
        organisation_id=organisation_id,
        reader_id=reader_id,
        patient_ref=patient_ref,
    )
    store.add_user(tx, person, hash_of(password))
    audit.record(
        tx,
        actor=by,
        action="user.added",
        subject=f"user:{person.id}",
        detail={"roles": sorted(kinds), "organisation": organisation_id},
    )
    return person.id


def require_attempt_allowed(
    tx: Transaction, *, login: str, source: str, limits: Limits
) -> store.Credentials | None:
    """Return whom the login belongs to, if signing in may be tried now.

    Raises
    ------
    TooManyAttempts
        It failed too often.
    """
    folded = login.strip().lower()
    found = store.failures(tx, login_sha256=digest(folded), source=source)
    wait = pause(found, limits, at=tx.at)
    if wait is not None:
        raise TooManyAttempts(wait)
    return store.by_login(tx, folded)


def note_failure(tx: Transaction, *, login: str, source: str, person: Person | None) -> None:
    """Note a failed attempt and write it to the journal."""
    store.add_failure(tx, login_sha256=digest(login.strip().lower()), source=source)
    audit.record(
        tx,
        actor=person.actor if person else Actor(ref="user:unknown", role=Role.SYSTEM),
        action="session.refused",
        subject=f"user:{person.id}" if person else "user:unknown",
        outcome=audit.Outcome.REFUSED,
        detail={"source": source},
    )


def start_session(
    tx: Transaction, person: Person, *, source: str, replaces: str | None, terms: SessionTerms
) -> str:
    """Start a session for a person whose password fitted; return its token.

    A session that the browser had before, of whomever, ends: tokens rotate at each sign-in.
    """
    token = new_token()
    if replaces is not None:
        store.end_session(tx, digest(replaces))
    store.clear_failures(tx, login_sha256=digest(person.login), source=source)
    store.start_session(
        tx, token_sha256=digest(token), user_id=person.id, expires_at=tx.at + terms.idle
    )
    audit.record(tx, actor=person.actor, action="session.started", subject=f"user:{person.id}")
    return token


def require_fit(credentials: store.Credentials | None, fitted: bool) -> Person:
    """Return the person if the password fitted and the account is open.

    Raises
    ------
    SignInRefused
        It did not, or is not; which of them is not told.
    """
    if credentials is None or not fitted or not credentials.active:
        raise SignInRefused("login and password do not fit together")
    return credentials.person


def find_session(tx: Transaction, token: str) -> LiveSession | None:
    """Return the living session of a token; `stale` asks for `touch`."""
    found = store.session(tx, digest(token))
    if found is None:
        return None
    return LiveSession(found.person, stale=tx.at - found.seen_at >= _TOUCH_EVERY)


def touch(tx: Transaction, token: str, *, terms: SessionTerms) -> None:
    """Lengthen a session that is in use, never beyond its longest term."""
    key = digest(token)
    began = store.session_started(tx, key)
    if began is not None:
        store.touch_session(tx, key, min(tx.at + terms.idle, began + terms.longest))


def end_session(tx: Transaction, token: str, person: Person) -> None:
    """Sign out."""
    store.end_session(tx, digest(token))
    audit.record(tx, actor=person.actor, action="session.ended", subject=f"user:{person.id}")


def close_account(tx: Transaction, person: Person, *, by: Actor) -> None:
    """Close an account: every session of it ends at once."""
    store.set_active(tx, person.id, active=False)
    store.end_sessions_of(tx, person.id)
    audit.record(tx, actor=by, action="user.closed", subject=f"user:{person.id}")


def open_account(tx: Transaction, person: Person, *, by: Actor) -> None:
    """Open an account that was closed; its password is the one it had."""
    store.set_active(tx, person.id, active=True)
    audit.record(tx, actor=by, action="user.opened", subject=f"user:{person.id}")


def find_login(tx: Transaction, login: str) -> Person:
    """Return the person of a login, whether the account is open or closed.

    Raises
    ------
    UserUnknown
        Nobody has it.
    """
    found = store.by_login(tx, login.strip().lower())
    if found is None:
        raise UserUnknown("nobody has this login")
    return found.person


def add_token(
    tx: Transaction,
    name: str,
    scopes: Iterable[str],
    *,
    organisation_id: str | None = None,
    by: Actor = ENGINE,
) -> str:
    """Add a bearer token for a machine; return the token, which is shown this once.

    With an organisation it sees what that one may see, and stores in its name.

    Raises
    ------
    ScopeUnknown
        A scope does not exist, or none is named.
    """
    machine = Machine(fresh(), name, scopes_of(scopes), organisation_id)
    token = new_token()
    store.add_token(tx, machine, digest(token))
    audit.record(
        tx,
        actor=by,
        action="token.added",
        subject=f"token:{machine.id}",
        detail={"scopes": sorted(machine.scopes), "organisation": organisation_id},
    )
    return token


def revoke_token(tx: Transaction, token_id: str, *, by: Actor) -> None:
    """Take a bearer token back: it is refused from the next request on.

    Raises
    ------
    TokenUnknown
        There is none, or it was revoked before.
    """
    if not store.revoke_token(tx, token_id):
        raise TokenUnknown("no token that is good has this id")
    audit.record(tx, actor=by, action="token.revoked", subject=f"token:{token_id}")


def machine_of(tx: Transaction, token: str) -> Machine | None:
    """Return the machine that a bearer token belongs to, None if it is unknown or revoked."""
    return store.machine(tx, digest(token))


def _check_user(
    login: str, roles: frozenset[Role], reader_id: str | None, patient_ref: str | None
) -> None:
    if _LOGIN.fullmatch(login) is None:
        raise LoginInvalid("a login has 2 to 119 characters: a-z, 0-9 and . _ @ + -")
    if not roles or roles & {Role.DEVICE, Role.SYSTEM}:
        raise LoginInvalid("a person has at least one role, and none of a device or system")
    if Role.CONSULTANT in roles and reader_id is None:
        raise LoginInvalid("a consultant's account names the consultant on the list of a profile")
    if Role.PATIENT in roles and patient_ref is None:
        raise LoginInvalid("a patient's account names the patient")
