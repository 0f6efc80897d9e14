"""Profiles, and which of them a study needs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from worklist.request import Request

NOT_IMAGES = frozenset(
    {"SR", "PR", "KO", "SEG", "DOC", "AU", "REG", "RTSTRUCT", "RTPLAN", "RTDOSE", "PLAN", "OT"}
)
"""Modalities that accompany images and never decide who reads (DICOM PS3.3 C.7.3.1.1.1)."""


class Content(Protocol):
    """What routing needs to know of a study; a manifest knows it."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of its instances, the most frequent first."""

    @property
    def body_parts(self) -> tuple[str, ...]:
        """Body Part Examined of its series (DICOM PS3.3 C.7.3.1)."""


@dataclass(frozen=True, slots=True)
class Takes:
    """One thing that a profile takes: a modality, of one body part or of any.

    `default` marks the profile that takes what the others of this modality leave.
    """

    modality: str
    body_part: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """A medical specialty that a request needs (KZ §23)."""

    id: str
    name: str
    takes: tuple[Takes, ...] = ()


@dataclass(frozen=True, slots=True)
class Routed:
    """The profile that reads the study, and the rule that chose it."""

    profile: str
    modality: str
    rule: str


@dataclass(frozen=True, slots=True)
class NotRouted:
    """No single profile takes the study: a person must decide."""

    code: str
    sentence: str


def route(content: Content, request: Request, profiles: Iterable[Profile]) -> Routed | NotRouted:
    """Return the profile that a study and its request need, or why there is none.

    A profile that the request names wins if it exists.  Else the rules decide: one for the body
    part beats one for any part of the modality.  Where several profiles are left, or none, the
    profile marked as the default of the modality takes the study.
    """
    known = {profile.id: profile for profile in profiles}
    modality = main_modality(content, request)
    if request.profile in known:
        return Routed(request.profile, modality, "named_in_request")
    if not modality:
        return NotRouted("no_images", "The study holds no images that a consultant could read.")
    rules = {
        "body_part": _taking(known, modality, _of_body_part(content.body_parts)),
        "modality": _taking(known, modality, lambda take: take.body_part is None),
    }
    for rule, found in rules.items():
        if len(found) == 1:
            return Routed(found[0], modality, rule)
        if found:
            break
    defaults = _taking(known, modality, lambda take: take.default)
    if len(defaults) == 1:
        return Routed(defaults[0], modality, "default")
    return _undecided(modality, defaults or found)


def main_modality(content: Content, request: Request) -> str:
    """Return the modality that decides: the requested one if it came, else the most frequent.

    Images that do not say what they are count as what was requested.
    """
    images = [m for m in content.modalities if m not in NOT_IMAGES]
    if request.modality in images:
        return request.modality
    if images:
        return images[0]
    return "" if content.modalities else request.modality


def _of_body_part(body_parts: Iterable[str]) -> Callable[[Takes], bool]:
    parts = {part.strip().upper() for part in body_parts}
    return lambda take: take.body_part is not None and take.body_part.upper() in parts


def _taking(
    profiles: Mapping[str, Profile], modality: str, fits: Callable[[Takes], bool]
) -> list[str]:
    return sorted(
        profile.id
        for profile in profiles.values()
        if any(take.modality == modality and fits(take) for take in profile.takes)
    )


def _undecided(modality: str, several: list[str]) -> NotRouted:
    if several:
        names = ", ".join(several)
        return NotRouted("several_profiles", f"Several profiles take {modality}: {names}.")
    return NotRouted("no_profile", f"No profile takes {modality} of this body part.")
