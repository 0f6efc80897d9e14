"""What the entrances are given: one built engine; `app.bootstrap` makes it, nothing else does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from app.identity.attempts import Limits
from app.identity.commands import SessionTerms
from kernel.digest import sha256_of
from storage.archive import Archive
from storage.engine import Database
from storage.objects import ObjectStore
from storage.retention import Retention

if TYPE_CHECKING:  # heavy packages are opened on first use, not at the start
    from dicom_node.completeness import CompletenessPolicy
    from dicom_node.intake import Intake
    from reporting.trust import Trust
    from worklist.settings import WorklistSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class WebTerms:
    """The bounds of the web entrance."""

    secure_cookies: bool = False
    """Set where a proxy serves HTTPS: cookies are then never sent in clear."""
    sessions: SessionTerms = field(default_factory=SessionTerms)
    sign_in_limits: Limits = field(default_factory=Limits)
    form_bytes: int = 512 * 1024
    """The longest report is 60 000 characters, at most four bytes each, some escaped."""
    form_idle: timedelta = timedelta(seconds=15)
    """Silence after which a half-sent form is given up: who sends one need not be signed in."""
    instance_bytes: int = 512 * 1024 * 1024
    """One instance is held in memory while it is stored: bounds what one sender can take."""
    upload_bytes: int = 8 * 1024 * 1024 * 1024
    """One request of many instances; it is spooled on disk until its end is seen."""
    spool_directory: Path | None = None
    """Where uploads wait for their end; None: the system's directory for temporary files."""
    upload_idle: timedelta = timedelta(minutes=2)
    """Silence after which a half-sent upload is given up; poor links stall for a while."""
    author_sees_own_report: bool = True
    """KZ §35 ends access with the assignment; whether that includes the author's own signed
    words is not said.  On: the document they signed, never the images."""


def _nobody_listens() -> None:
    """Stand in for the relay where it runs in another process: it looks by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything that an entrance may ask."""

    database: Database
    objects: ObjectStore
    archive: Archive
    intake: "Intake"
    worklist: "WorklistSettings"
    completeness: "CompletenessPolicy"
    trust: "Trust"
    keys_directory: Path
    node_name: str
    version: str
    started_at: datetime
    demo: bool = False
    """Shown on every page: keys are of the demo authority, patients are not real."""
    nudge: Callable[[], None] = _nobody_listens
    """Tells the relay of this process that something was just committed."""
    ready_checks: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)
    """Further parts that must be well before this node is ready; each raises if its part is not,
    and may say more than that it is."""
    other_checks: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)
    """Parts that are told of beside: this node is ready without them."""
    web: WebTerms = field(default_factory=WebTerms)
    retention: Retention = field(default_factory=Retention)
    sees_all: frozenset[str] = frozenset()
    """Organisations whose devices and programs may see every study (ADR 14)."""

    def key_file(self, reader_id: str) -> Path:
        """Return where the key of a reader lies; ids may hold what file names may not."""
        return self.keys_directory / f"{sha256_of(reader_id.encode())[:16]}.p12"
