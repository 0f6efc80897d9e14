"""Who may be on the other side of the wire: a person with roles, or a machine with scopes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.identity.errors import ScopeUnknown
from kernel.people import Actor, Role

_RANK = (
    Role.ADMINISTRATOR,
    Role.CONSULTANT,
    Role.ATTENDING,
    Role.TECHNOLOGIST,
    Role.PHARMACIST,
    Role.PATIENT,
)
SITE_STAFF = frozenset({Role.ATTENDING, Role.TECHNOLOGIST})


class Scope(StrEnum):
    """What a bearer token lets a machine do."""

    DICOMWEB_READ = "dicomweb:read"
    DICOMWEB_WRITE = "dicomweb:write"
    DICOMWEB_DELETE = "dicomweb:delete"
    FHIR_READ = "fhir:read"
    METRICS_READ = "metrics:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can sign in.

    `reader_id` is the consultant and `patient_ref` the patient that this person is, if any.
    """

    id: str
    login: str
    name: str
    roles: frozenset[Role]
    organisation_id: str | None = None
    reader_id: str | None = None
    patient_ref: str | None = None

    @property
    def actor(self) -> Actor:
        """The reference under which the acts of this person are kept."""
        ref = f"reader:{self.reader_id}" if self.reader_id else f"user:{self.id}"
        role = next((role for role in _RANK if role in self.roles), Role.PATIENT)
        if self.reader_id and Role.CONSULTANT in self.roles:
            role = Role.CONSULTANT
        return Actor(ref=ref, role=role, organisation=self.organisation_id)

    @property
    def is_site_staff(self) -> bool:
        """Say whether the person asks for readings and sends studies."""
        return bool(self.roles & SITE_STAFF)


@dataclass(frozen=True, slots=True)
class Machine:
    """A device or system that shows a bearer token."""

    id: str
    name: str
    scopes: frozenset[Scope]
    organisation_id: str | None = None
    """What it sees is what this organisation may see; None is the node's own, which sees all."""

    @property
    def actor(self) -> Actor:
        """The reference under which the acts of this machine are kept."""
        return Actor(ref=f"token:{self.id}", role=Role.DEVICE, organisation=self.organisation_id)


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes of their names.

    Raises
    ------
    ScopeUnknown
        One of them does not exist, or none is named.
    """
    try:
        scopes = frozenset(Scope(name) for name in names)
    except ValueError:
        scopes = frozenset()
    if not scopes:
        known = ", ".join(scope.value for scope in Scope)
        raise ScopeUnknown(f"a token needs at least one scope, each of {known}")
    return scopes
