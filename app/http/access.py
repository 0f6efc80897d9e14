"""Who asks, and whether the object is theirs: each route names one of these types.

A route without one of them is public by reading.  Everything that is shown or refused leaves a
row in the audit chain before it is shown or refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection

from app.engine import Engine
from app.http.body import Fields, TheEngine
from app.identity import commands, secret
from app.identity.errors import AccessRefused, FormForged, NotSignedIn, TokenRefused
from app.identity.person import Machine, Person, Scope
from app.identity.policy import Right, Surroundings, rights
from app.pages.moments import zone_of
from kernel.people import Actor, Role
from storage import audit, patients
from storage.engine import Transaction
from worklist import queries
from worklist import store as worklist_store
from worklist.case import Case
from worklist.organisation import Organisation, OrganisationKind

SESSION_COOKIE = "telerad_session"
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
FORM_TOKEN_HEADER = "x-form-token"  # noqa: S105 - the name of a header
# What proxies say of whom they ask for (RFC 7239 and what was in use before it).
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person with what pages need: the token for forms, the organisation, the zone."""

    person: Person
    form_token: str
    organisation: Organisation | None
    zone: ZoneInfo

    @property
    def is_dispatcher(self) -> bool:
        """Say whether the person looks after the desk: an administrator who gives readings."""
        return (
            Role.ADMINISTRATOR in self.person.roles
            and self.organisation is not None
            and self.organisation.kind is OrganisationKind.CONSULTING
        )


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A case that the visitor may see, with everything that they may do with it."""

    visitor: Visitor
    case: Case
    rights: frozenset[Right]

    def may(self, name: str) -> bool:
        """Say, for a template, whether a right is granted."""
        return Right(name) in self.rights


@dataclass(frozen=True, slots=True)
class Caller:
    """A program or a signed-in person at an address for programs."""

    machine: Machine | None
    visitor: Visitor | None

    @property
    def actor(self) -> Actor:
        """Who acts, for the audit chain."""
        if self.machine is not None:
            return self.machine.actor
        assert self.visitor is not None
        return self.visitor.person.actor


def cookie_name(engine: Engine) -> str:
    """Return the name of the session cookie; the prefix binds it to this host and to HTTPS."""
    return f"__Host-{SESSION_COOKIE}" if engine.web.secure_cookies else SESSION_COOKIE


def session_token(request: HTTPConnection, engine: Engine) -> str | None:
    """Return the session token that the browser shows, if any."""
    return request.cookies.get(cookie_name(engine))


def find_visitor(request: HTTPConnection, engine: TheEngine) -> Visitor | None:
    """Return who is signed in in this browser; None if nobody is."""
    token = session_token(request, engine)
    if not token:
        return None
    with engine.database.reading() as tx:
        live = commands.find_session(tx, token)
        if live is None:
            return None
        organisation = _organisation(tx, live.person)
    if live.stale:
        with engine.database.transaction() as tx:
            commands.touch(tx, token, terms=engine.web.sessions)
    visitor = Visitor(
        live.person,
        secret.form_token(token),
        organisation,
        zone_of(organisation.zone if organisation else None),
    )
    request.state.visitor = visitor
    return visitor


MaybeSignedIn = Annotated[Visitor | None, Depends(find_visitor)]


def signed_in(visitor: MaybeSignedIn) -> Visitor:
    """Return who is signed in.

    Raises
    ------
    NotSignedIn
        Nobody is.
    """
    if visitor is None:
        raise NotSignedIn("sign in first")
    return visitor


SignedIn = Annotated[Visitor, Depends(signed_in)]


def checked_form(request: Request, visitor: SignedIn, fields: Fields) -> Mapping[str, str]:
    """Return the fields of a form that the visitor's own page has sent.

    Raises
    ------
    FormForged
        It lacks the token of this session: another site, or a page of an earlier session.
    """
    shown = fields.get(FORM_TOKEN) or request.headers.get(FORM_TOKEN_HEADER) or ""
    if not secret.same(shown, visitor.form_token):
        raise FormForged("the form is not from this session; load the page again")
    return fields


CheckedForm = Annotated[Mapping[str, str], Depends(checked_form)]


def case_for(right: Right, action: str | None) -> Callable[..., OpenedCase]:
    """Return the dependency that opens a case for one right.

    `action` is what a granted access is called in the audit chain; None where the command that
    follows writes its own row.  A refusal is always written.
    """

    def opened(case_id: str, visitor: SignedIn, engine: TheEngine) -> OpenedCase:
        return open_case(engine, visitor, case_id, right, action)

    return opened


def open_case(
    engine: Engine, visitor: Visitor, case_id: str, right: Right, action: str | None
) -> OpenedCase:
    """Open a case for a visitor who needs `right`.

    Raises
    ------
    AccessRefused
        The case is not theirs in this way; the refusal is in the journal of the case.
    """
    with engine.database.reading() as tx:
        case = queries.get_case(tx, case_id)
        granted = rights_in(tx, engine, visitor, case)
    allowed = right in granted
    if action is not None or not allowed:
        with engine.database.transaction() as tx:
            audit.record(
                tx,
                actor=visitor.person.actor,
                action=action if allowed and action else "access.refused",
                subject=f"case:{case.id}",
                case_id=case.id,
                outcome=audit.Outcome.SUCCESS if allowed else audit.Outcome.REFUSED,
                detail={} if allowed else {"right": right.value},
            )
    if not allowed:
        raise AccessRefused("this case is not, or no longer, open to you", case_id=case.id)
    return OpenedCase(visitor, case, granted)


def rights_in(tx: Transaction, engine: Engine, visitor: Visitor, case: Case) -> frozenset[Right]:
    """Return everything that a visitor may do with a case."""
    return rights(
        visitor.person,
        case,
        Surroundings(
            consulting=_consulting(tx, case),
            profiles=_profiles(tx, visitor.person),
            author_sees_own_report=engine.web.author_sees_own_report,
            own_refs=own_refs(tx, visitor.person),
        ),
    )


def own_refs(tx: Transaction, person: Person) -> frozenset[str]:
    """Return every reference of the patient whom a person is, by merges; none of others."""
    if Role.PATIENT not in person.roles or person.patient_ref is None:
        return frozenset()
    return patients.one_with(tx, [person.patient_ref])[person.patient_ref]


def may_see_images(tx: Transaction, engine: Engine, visitor: Visitor, study_uid: str) -> bool:
    """Say whether a visitor has a case of the study whose images are open to them."""
    return any(
        Right.SEE_IMAGES in rights_in(tx, engine, visitor, case)
        for case in worklist_store.cases_of_study(tx, study_uid, lock=False)
    )


def record_refusal(engine: Engine, actor: Actor, subject: str) -> None:
    """Write to the audit chain that somebody was refused."""
    with engine.database.transaction() as tx:
        audit.record(
            tx, actor=actor, action="access.refused", subject=subject, outcome=audit.Outcome.REFUSED
        )


def dispatcher(visitor: SignedIn, engine: TheEngine) -> Visitor:
    """Return the visitor if they look after the desk.

    Raises
    ------
    AccessRefused
        They are no administrator of a consulting organisation.
    """
    if not visitor.is_dispatcher:
        record_refusal(engine, visitor.person.actor, "desk")
        raise AccessRefused("the desk is for administrators of consulting organisations")
    return visitor


def caller_with(scope: Scope) -> Callable[..., Caller]:
    """Return the dependency for addresses of programs: a bearer token, or a signed-in person."""

    def caller(request: Request, engine: TheEngine) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            return Caller(_machine(engine, token.strip(), scope), None)
        visitor = find_visitor(request, engine)
        if visitor is None:
            raise TokenRefused(f"show a bearer token with the scope {scope.value}")
        return Caller(None, visitor)

    return caller


def socket_caller(connection: HTTPConnection, engine: Engine, scope: Scope) -> Caller:
    """Return who opens a WebSocket: a bearer token, or a person from a page of this site.

    A browser shows its cookies to a socket whatever page opened it, so the page has to be ours.

    Raises
    ------
    TokenRefused, AccessRefused
        Neither is shown.
    """
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return Caller(_machine(engine, token.strip(), scope), None)
    origin = urlsplit(connection.headers.get("origin", "")).netloc
    ours = bool(origin) and origin == connection.headers.get("host", "")
    visitor = find_visitor(connection, engine) if ours else None
    if visitor is None:
        raise TokenRefused(f"show a bearer token with the scope {scope.value}")
    return Caller(None, visitor)


def watcher(request: Request, engine: TheEngine) -> None:
    """Let in who watches over the engine: this machine, a token for that, who has the desk.

    What came through a proxy is not of this machine, whoever hands it on; a scrape from here asks
    no database, which may be what is wrong.

    Raises
    ------
    TokenRefused, AccessRefused
        It is somebody else.
    """
    if _is_of_this_machine(request):
        return
    caller = caller_with(Scope.METRICS_READ)(request, engine)
    if caller.visitor is not None and not caller.visitor.is_dispatcher:
        record_refusal(engine, caller.actor, "metrics")
        raise AccessRefused("these numbers are for administrators of consulting organisations")


def _is_of_this_machine(request: Request) -> bool:
    if any(name in request.headers for name in _FORWARDED) or request.client is None:
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


ReadsCases = Annotated[OpenedCase, Depends(case_for(Right.SEE_CASE, "case.viewed"))]
SeesImages = Annotated[OpenedCase, Depends(case_for(Right.SEE_IMAGES, None))]
SeesReport = Annotated[OpenedCase, Depends(case_for(Right.SEE_REPORT, "report.viewed"))]
SeesJournal = Annotated[OpenedCase, Depends(case_for(Right.SEE_JOURNAL, "journal.viewed"))]
AnswersOffers = Annotated[OpenedCase, Depends(case_for(Right.ANSWER, None))]
ReadsStudies = Annotated[OpenedCase, Depends(case_for(Right.WRITE, "study.viewed"))]
WritesReports = Annotated[OpenedCase, Depends(case_for(Right.WRITE, None))]
SignsReports = WritesReports
DispatchesCases = Annotated[OpenedCase, Depends(case_for(Right.DISPATCH, None))]
Dispatcher = Annotated[Visitor, Depends(dispatcher)]
ReadsDicom = Annotated[Caller, Depends(caller_with(Scope.DICOMWEB_READ))]
WritesDicom = Annotated[Caller, Depends(caller_with(Scope.DICOMWEB_WRITE))]
DeletesDicom = Annotated[Caller, Depends(caller_with(Scope.DICOMWEB_DELETE))]
ReadsFhir = Annotated[Caller, Depends(caller_with(Scope.FHIR_READ))]
WatchesEngine = Depends(watcher)


def _machine(engine: Engine, token: str, scope: Scope) -> Machine:
    with engine.database.reading() as tx:
        machine = commands.machine_of(tx, token)
    if machine is None:
        raise TokenRefused("the bearer token is unknown or revoked")
    if scope not in machine.scopes:
        record_refusal(engine, machine.actor, f"scope:{scope.value}")
        raise AccessRefused(f"the bearer token lacks the scope {scope.value}")
    return machine


def _organisation(tx: Transaction, person: Person) -> Organisation | None:
    if person.organisation_id is None:
        return None
    return queries.get_organisation(tx, person.organisation_id)


def _consulting(tx: Transaction, case: Case) -> frozenset[str]:
    had = [reader for reader in (case.holder, case.offered_to, case.signed_by) if reader]
    readers = [
        *queries.list_readers(tx, profile=case.profile),
        *(queries.get_reader(tx, reader_id) for reader_id in had),
    ]
    return frozenset(reader.organisation_id for reader in readers)


def _profiles(tx: Transaction, person: Person) -> frozenset[str]:
    if person.reader_id is None or Role.CONSULTANT not in person.roles:
        return frozenset()
    reader = queries.get_reader(tx, person.reader_id)
    return frozenset(c.profile for c in reader.competences if c.valid(tx.at))
