"""What the worklist refuses, each with the rule in one sentence."""

from kernel.errors import Misconfigured, NotFound, Refused, Transient


class CaseUnknown(NotFound):
    """No case has this id."""

    code = "worklist.case_unknown"


class RequestUnknown(NotFound):
    """No request has this id."""

    code = "worklist.request_unknown"


class ReaderUnknown(NotFound):
    """No consultant has this id."""

    code = "worklist.reader_unknown"


class OrganisationUnknown(NotFound):
    """No organisation has this id."""

    code = "worklist.organisation_unknown"


class ProfileUnknown(NotFound):
    """No profile has this id."""

    code = "worklist.profile_unknown"


class StudyNotOnDesk(NotFound):
    """The study does not wait on the desk."""

    code = "worklist.study_not_on_desk"


class CaseMisfiled(Refused):
    """The study of the case is another patient's, by a correction in force."""

    code = "worklist.case_misfiled"


class CaseMoveRefused(Refused):
    """The table of moves does not allow this step."""

    code = "worklist.case_move_refused"

    def __init__(self, case_id: str, source: str, target: str) -> None:
        super().__init__(
            f"a case that is {source} cannot become {target}",
            case_id=case_id,
            source=source,
            target=target,
        )
        self.source = source
        self.target = target


class CaseMovedMeanwhile(Transient):
    """Another transaction moved the case first; load it again and decide again."""

    code = "worklist.case_moved_meanwhile"


class NotHolder(Refused):
    """Only the consultant who holds the case may act on it (KZ §35)."""

    code = "worklist.not_holder"
    clause = "KZ §35"


class NotOfferedToReader(Refused):
    """Only the consultant to whom the case is offered may answer the offer (KZ §23)."""

    code = "worklist.not_offered_to_reader"
    clause = "KZ §23"


class RequestContradicts(Refused):
    """The same accession was requested before with other content."""

    code = "worklist.request_contradicts"


class RequestIncomplete(Refused):
    """The request lacks what it takes to find its study again."""

    code = "worklist.request_incomplete"
    clause = "KZ §13"


class RequestClosed(Refused):
    """The request is cancelled or has its case already."""

    code = "worklist.request_closed"


class PatientsDiffer(Refused):
    """The study and the request name different patients."""

    code = "worklist.patients_differ"


class StudyNotRouted(Refused):
    """No profile takes the study."""

    code = "worklist.study_not_routed"
    clause = "KZ §23"


class TargetOutsideLaw(Misconfigured):
    """The target of the urgent form lies outside 3 to 24 hours."""

    code = "worklist.target_outside_law"
    clause = "KZ §8"


class SettingOutOfRange(Misconfigured):
    """A worklist setting has a value that it cannot have."""

    code = "worklist.setting_out_of_range"
