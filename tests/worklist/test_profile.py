"""Which profile reads a study."""

from dataclasses import dataclass

import pytest

from tests.worklist.examples import THORAX, a_request
from tests.worklist.room import NEURO, PROFILES
from worklist.profile import NotRouted, Profile, Routed, Takes, main_modality, route


@dataclass(frozen=True)
class Content:
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("modalities", "body_parts", "profile", "rule"),
    [
        (("DX",), ("CHEST",), THORAX, "body_part"),
        (("CT",), ("Head ",), NEURO, "body_part"),
        (("CT", "SR"), ("CHEST",), THORAX, "body_part"),
        (("MR",), ("KNEE",), NEURO, "modality"),
        (("DX",), ("HAND",), THORAX, "default"),
        (("SR", "DX"), (), THORAX, "default"),
    ],
)
def test_the_rule_nearest_to_the_study_decides(modalities, body_parts, profile, rule):
    request = a_request(modality="")
    routed = route(Content(modalities, body_parts), request, PROFILES)
    assert isinstance(routed, Routed)
    assert (routed.profile, routed.rule) == (profile, rule)


def test_a_profile_named_in_the_request_wins_if_it_exists():
    chest = Content(("DX",), ("CHEST",))
    named = route(chest, a_request(profile=NEURO), PROFILES)
    unknown = route(chest, a_request(profile="homeopathy"), PROFILES)
    assert named == Routed(NEURO, "DX", "named_in_request")
    assert unknown == Routed(THORAX, "DX", "body_part")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (Content(("US",), ("ABDOMEN",)), "no_profile"),
        (Content(("CT",), ("PELVIS",)), "no_profile"),
        (Content(("SR", "KO")), "no_images"),
        (Content(()), "no_images"),
        (Content(("CT",), ("CHEST", "HEAD")), "several_profiles"),
    ],
)
def test_what_no_single_profile_takes_goes_to_a_person_with_the_reason(content, code):
    not_routed = route(content, a_request(modality=""), PROFILES)
    assert isinstance(not_routed, NotRouted)
    assert not_routed.code == code
    assert not_routed.sentence.endswith(".")


def test_where_several_take_it_the_default_of_the_modality_decides():
    general = Profile("general", "General radiology", (Takes("CT", default=True),))
    routed = route(Content(("CT",), ("CHEST", "HEAD")), a_request(), (*PROFILES, general))
    assert isinstance(routed, Routed)
    assert routed.profile == "general"


def test_the_requested_modality_decides_among_those_that_came():
    assert main_modality(Content(("CT", "PT")), a_request(modality="PT")) == "PT"
    assert main_modality(Content(("CT", "PT")), a_request(modality="US")) == "CT"


def test_images_that_do_not_say_what_they_are_count_as_what_was_requested():
    routed = route(Content(()), a_request(modality="DX"), PROFILES)
    assert routed == Routed(THORAX, "DX", "default")
