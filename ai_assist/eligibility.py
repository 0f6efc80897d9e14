"""May this image be given to this model?  Pure; every no has a constant reason.

References
----------
DICOM PS3.3 C.7.6.1.1.2 (Image Type), C.8.11.2 (Presentation Intent Type), C.8.11.5 (View Position,
body part and anatomic region), C.7.6.1.1.5 (lossy compression).
"""

from dataclasses import dataclass

from ai_assist.card import Eligibility

SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"  # and the multi-frame ones below it
CHEST_REGIONS = frozenset(
    {
        ("51185008", "SCT"),  # thoracic structure
        ("816094009", "SCT"),  # thorax
        ("43799004", "SCT"),  # thoracic cavity
        ("39607008", "SCT"),  # lung
        ("T-D3000", "SRT"),
        ("T-D3000", "SNM3"),
        ("T-28000", "SRT"),
    }
)
LARGEST_MATRIX = 120_000_000  # pixels; a film of 43 by 35 cm at 50 µm has 60 million


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the header of one instance says; empty texts where it says nothing."""

    instance_uid: str
    sop_class_uid: str
    modality: str
    body_part: str
    anatomic_regions: tuple[tuple[str, str], ...]
    view: str
    presentation_intent: str
    image_type: tuple[str, ...]
    photometric: str
    rows: int
    columns: int
    frames: int
    age_years: float | None
    lossy_ratio: float | None


def why_not(facts: ImageFacts, rules: Eligibility) -> str | None:
    """Return the code of the first rule that speaks against the image, None if none does.

    A processed film is often DERIVED\\PRIMARY and stays eligible; SECONDARY in the second value
    means that the pixels did not come from examining the patient.
    """
    region_of_chest = bool(CHEST_REGIONS & set(facts.anatomic_regions))
    body_part = "CHEST" if region_of_chest and not facts.body_part else facts.body_part
    rows_and_reasons: tuple[tuple[bool, str], ...] = (
        (facts.sop_class_uid.startswith(SECONDARY_CAPTURES), "secondary_capture"),
        (facts.modality not in rules.modalities, "modality_not_covered"),
        (body_part not in rules.body_parts, "body_part_not_covered"),
        (facts.view not in rules.views, "view_not_covered"),
        (facts.presentation_intent not in rules.presentation_intents, "not_for_presentation"),
        ("SECONDARY" in facts.image_type[1:2], "secondary_image"),
        (not facts.photometric.startswith("MONOCHROME"), "not_greyscale"),
        (facts.frames != 1, "more_than_one_frame"),
        (min(facts.rows, facts.columns) < rules.min_matrix, "matrix_too_small"),
        (facts.rows * facts.columns > LARGEST_MATRIX, "matrix_too_large"),
        (not _age_fits(facts.age_years, rules.age_years), "age_not_covered"),
        ((facts.lossy_ratio or 0) > rules.max_lossy_ratio, "compressed_too_much"),
    )
    return next((reason for refuses, reason in rows_and_reasons if refuses), None)


def _age_fits(age: float | None, covered: tuple[int, int] | None) -> bool:
    """Say whether an age is covered; one that is not stated is, as most films do not state it."""
    return covered is None or age is None or covered[0] <= age <= covered[1]
