"""Who acted: references to people and devices, never their names."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person or device may be to the engine (KZ §10)."""

    ADMINISTRATOR = "administrator"
    CONSULTANT = "consultant"
    ATTENDING = "attending"
    TECHNOLOGIST = "technologist"
    PHARMACIST = "pharmacist"
    PATIENT = "patient"
    DEVICE = "device"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """The one who acts; `ref` is an id such as ``reader:r-1``, ``ae:VAN1`` or ``system:relay``."""

    ref: str
    role: Role
    organisation: str | None = None


ENGINE = Actor(ref="system:telerad", role=Role.SYSTEM)
