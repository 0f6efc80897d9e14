"""What may leave, by destination: an allow-list of resources and their elements.

Whatever is not named here does not leave, so an element that a later version of a builder adds
stays inside until somebody decides otherwise in this table.
"""

from collections.abc import Mapping

from health_record.spelling import Resource

AllowList = Mapping[str, frozenset[str]]


def _elements(names: str) -> frozenset[str]:
    return frozenset({"resourceType", "id", *names.split()})


WHOLE_REPORT: AllowList = {
    "Composition": _elements(
        "meta language identifier status type subject date author title attester custodian section"
    ),
    "DiagnosticReport": _elements(
        "meta identifier basedOn status category code subject issued performer"
        " resultsInterpreter imagingStudy conclusion presentedForm"
    ),
    "ImagingStudy": _elements(
        "identifier status modality subject started basedOn numberOfSeries numberOfInstances"
        " description series"
    ),
    "ServiceRequest": _elements("identifier status intent subject requester performer"),
    "Patient": _elements("identifier name gender birthDate"),
    "Practitioner": _elements("identifier name"),
    "PractitionerRole": _elements("identifier practitioner organization"),
    "Organization": _elements("identifier name"),
    "Provenance": _elements("target occurredDateTime recorded activity agent entity signature"),
    "DocumentReference": _elements(
        "meta masterIdentifier identifier status docStatus type subject date author custodian"
        " content context"
    ),
    "Binary": _elements("contentType data"),
}


def only_allowed(resource: Resource, allowed: AllowList) -> Resource | None:
    """Return the part of a resource that may leave, None if nothing of its type may."""
    elements = allowed.get(str(resource["resourceType"]))
    if elements is None:
        return None
    return {name: value for name, value in resource.items() if name in elements}
