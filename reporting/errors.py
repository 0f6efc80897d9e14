"""What reporting refuses, and why."""

from kernel.errors import Corrupt, NotFound, Refused


class ReportUnknown(NotFound):
    """No report, or no such version of it."""

    code = "reporting.report_unknown"


class ReportMoveRefused(Refused):
    """The version is not in a state from which this move is allowed."""

    code = "reporting.move_refused"

    def __init__(self, source: str, target: str, number: int) -> None:
        super().__init__(
            f"version {number} of the report is {source} and cannot become {target}",
            source=source,
            target=target,
            version=number,
        )
        self.source = source
        self.target = target


class DraftConflict(Refused):
    """The text was changed elsewhere since it was loaded; saving would overwrite it."""

    code = "reporting.draft_conflict"

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(
            "the report was changed in another window since this text was loaded; "
            "load it again before saving",
            expected_revision=expected,
            actual_revision=actual,
        )
        self.expected = expected
        self.actual = actual


class SectionRefused(Refused):
    """A section of the text cannot stand as it is; the sentence names the section."""

    code = "reporting.section_refused"


class SectionEmpty(SectionRefused):
    """Findings and impression must be written before a report is finalised."""

    code = "reporting.section_empty"


class TextTooLong(SectionRefused):
    """A section, or all of them together, is longer than a report may be."""

    code = "reporting.text_too_long"


class UnprintableCharacter(SectionRefused):
    """A character cannot be shown in the document that would be signed."""

    code = "reporting.unprintable_character"


class AlreadySealed(Refused):
    """A sealed report is not edited; what is to be added goes into an addendum."""

    code = "reporting.already_sealed"
    clause = "KZ §37"


class NewerVersionExists(Refused):
    """Only the newest version of a report can be signed."""

    code = "reporting.newer_version_exists"


class ImagesCameSince(Refused):
    """The reader noted late images after this version was finalised."""

    code = "reporting.images_came_since"


class NotTheAuthor(Refused):
    """Only the author of a report may go on with it."""

    code = "reporting.not_the_author"


class SigningRefused(Refused):
    """A key or certificate cannot be used for this signature; nothing was changed."""

    code = "reporting.signing_refused"
    clause = "KZ §37"


class KeyFileUnreadable(SigningRefused):
    """The file is not a PKCS#12 key file, or holds no key with its certificate."""

    code = "reporting.key_file_unreadable"


class WrongPassphrase(SigningRefused):
    """The passphrase does not open the key file."""

    code = "reporting.wrong_passphrase"


class CertificateExpired(SigningRefused):
    """The certificate of the signer is no longer valid."""

    code = "reporting.certificate_expired"


class CertificateNotYetValid(SigningRefused):
    """The certificate of the signer is not valid yet."""

    code = "reporting.certificate_not_yet_valid"


class CertificateOfAnother(SigningRefused):
    """The certificate was issued to somebody else than the author of the report."""

    code = "reporting.certificate_of_another"


class CertificateUnfit(SigningRefused):
    """The certificate does not permit signing documents."""

    code = "reporting.certificate_unfit"


class AuthorityNotTrusted(SigningRefused):
    """The certificate was not issued by an authority that this engine trusts."""

    code = "reporting.authority_not_trusted"


class SealBroken(Corrupt):
    """A sealed document does not prove what it should; the sentence says what fails."""

    code = "reporting.seal_broken"


class LanguageUnknown(Refused):
    """A report cannot be written in this language yet."""

    code = "reporting.language_unknown"
