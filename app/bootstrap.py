"""Reads settings once and builds everything; the tables of reactions, work and adapters are here.

Heavy packages are imported where they are first needed: the web and the listener never load a
model, and a process that only lists cases loads neither PDF nor FHIR.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from app.board import Part
from kernel.clock import Clock, system_clock
from kernel.digest import sha256_of
from kernel.errors import Misconfigured
from kernel.pulse import Pulse
from storage.archive import Archive
from storage.engine import Database, Transaction
from storage.journal import Journal
from storage.objects import LocalObjects, ObjectStore
from storage.schema import is_current
from storage.work import DueWork, Reactions

if TYPE_CHECKING:
    from ai_assist.shelf import Shelf
    from app.engine import Engine
    from app.settings import Settings
    from dicom_node.completeness import CompletenessPolicy
    from dicom_node.in_flight import InFlight
    from dicom_node.intake import Intake
    from dicom_node.orthanc import Bounds
    from dicom_node.tls import Secure
    from dicom_node.views import Views
    from health_record.port import RecordAdapter
    from reporting.trust import Trust
    from storage.packs import Packer
    from storage.retention import Retention
    from worklist.settings import WorklistSettings

DESTINATIONS = ("record", "requester")
DEMO_PASSPHRASE = "telerad-demo"  # noqa: S105 - of invented people, and shown to all
SEAL = "organisation-seal"


class DemoInProduction(Misconfigured):
    """The demo authority or a twin was found where patients are treated."""

    code = "bootstrap.demo_in_production"


def _unwatched(_part: Part) -> Pulse:
    return Pulse()


@dataclass(frozen=True)
class Parts:
    """The parts of one process, each built when it is first asked for.

    Parameters
    ----------
    settings
        Read once by `app.settings.load`.
    pulse_of
        Returns the pulse of a part of this process.
    """

    settings: "Settings"
    clock: Clock = system_clock
    pulse_of: Callable[[Part], Pulse] = _unwatched

    @cached_property
    def database(self) -> Database:
        """The database of the settings, not yet migrated."""
        self.settings.data.mkdir(parents=True, exist_ok=True)
        return Database(self.settings.database_url, clock=self.clock)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store, with packs at hand where it is remote."""
        limit = int(self.settings.storage.cache_gb * 1e9)
        if not self.settings.storage.objects_url or not limit:
            return self.stored_objects
        from storage.cache import PackCache

        return PackCache(self.stored_objects, self.settings.data / "cache", limit=limit)

    @cached_property
    def stored_objects(self) -> ObjectStore:
        """Local disk, or S3 where a URL is set: what holds the truth."""
        told = self.settings.storage
        if not told.objects_url:
            return LocalObjects(self.settings.data / "objects")
        from storage.s3 import S3Objects

        return S3Objects(
            told.objects_url,
            access_key=told.s3_access_key,
            secret_key=told.s3_secret_key.get_secret_value(),
        )

    @cached_property
    def journal(self) -> Journal:
        """The journal of this node."""
        return Journal(
            self.settings.data / "journal",
            node=self.settings.node,
            segment_bytes=self.settings.storage.segment_mb << 20,
            pulse=self.pulse_of(Part.RESERVING),
        )

    @cached_property
    def archive(self) -> Archive:
        """Reads instances from journal and packs."""
        return Archive(self.database, self.journal, self.objects)

    @property
    def completeness(self) -> "CompletenessPolicy":
        """How long a study is waited for, and for what."""
        from datetime import timedelta

        from dicom_node.completeness import CompletenessPolicy

        return CompletenessPolicy(quiet=timedelta(seconds=self.settings.dicom.quiet_s))

    @cached_property
    def packer(self) -> "Packer":
        """Packs what lies in the journal of this node."""
        from storage.packs import Packer

        return Packer(
            self.database,
            self.journal,
            self.objects,
            self.settings.data / "scratch",
            stored=self.stored_objects,
        )

    @cached_property
    def intake(self) -> "Intake":
        """The way in for instances, whatever the entrance."""
        from dicom_node.intake import Intake

        pulse = self.pulse_of(Part.COMMITTING)
        return Intake(self.database, self.journal, clock=self.clock, pulse=pulse)

    @cached_property
    def retention(self) -> "Retention":
        """How long what is kept."""
        from datetime import timedelta

        from storage.retention import Retention

        told = self.settings.retention
        return Retention(
            years=told.years,
            by_modality=told.by_modality,
            by_organisation=told.by_organisation,
            grace=timedelta(days=told.grace_days),
        )

    @property
    def orthanc_bounds(self) -> "Bounds":
        """How long an Orthanc may be silent, and how much it may send."""
        from datetime import timedelta

        from dicom_node.orthanc import Bounds

        told = self.settings.orthanc
        return Bounds(
            connect=timedelta(seconds=told.connect_s),
            silence=timedelta(seconds=told.silence_s),
            instance=told.instance_mb << 20,
        )

    def orthanc_password(self, name: str) -> str:
        """Return the password that this host has for an Orthanc, empty if none."""
        from app.orthancs import password_of

        return password_of(self.keys, name)

    @cached_property
    def secure(self) -> "Secure":
        """How peers are called that are called over TLS."""
        from app import dicom_tls

        return dicom_tls.secure(self.settings, self.database)

    @cached_property
    def in_flight(self) -> "InFlight":
        """Which studies have associations open in this process."""
        from dicom_node.in_flight import InFlight

        return InFlight()

    @cached_property
    def views(self) -> "Views":
        """What the devices of an organisation see."""
        from dicom_node.views import View

        return dict.fromkeys(self.settings.dicom.views_all, View.ALL)

    @cached_property
    def worklist(self) -> "WorklistSettings":
        """The worklist's settings in its own words."""
        from datetime import timedelta

        from worklist.clock import Targets
        from worklist.settings import WorklistSettings

        told = self.settings.worklist
        return WorklistSettings(
            targets=Targets(
                urgent=timedelta(hours=told.urgent_h), planned=timedelta(hours=told.planned_h)
            ),
            triage_deadline=timedelta(seconds=told.triage_wait_s),
            offer_longest=timedelta(seconds=told.offer_s),
            lease=timedelta(seconds=told.lease_s),
        )

    @cached_property
    def shelf(self) -> "Shelf":
        """The models at hand; none where AI is switched off."""
        from ai_assist.shelf import Shelf, shipped_models

        if not self.settings.ai.enabled:
            return Shelf([])
        # The runtime's builds for Linux and Windows report to its maker unless told not to, before
        # they are loaded.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        more = [Path(self.settings.ai.models)] if self.settings.ai.models else []
        return Shelf([shipped_models(), *more])

    @cached_property
    def trust(self) -> "Trust":
        """The authorities whose certificates may sign: those in ``trust/``, and the demo's."""
        from reporting.trust import Trust, root_from

        real = [
            root_from(path.read_bytes(), demo=False)
            for path in sorted((self.settings.data / "trust").glob("*.pem"))
        ]
        demo = [root_from(self._demo_root.read_bytes(), demo=True)] if self.is_demo else []
        return Trust((*real, *demo))

    @property
    def is_demo(self) -> bool:
        """Whether the data directory holds the demo authority."""
        return self._demo_root.exists()

    @property
    def keys(self) -> Path:
        """Where the keys of readers and of the organisation lie."""
        return self.settings.data / "keys"

    def key_file(self, owner: str) -> Path:
        """Return where the key of a reader, or the organisation's seal, lies."""
        return self.keys / f"{sha256_of(owner.encode())[:16]}.p12"

    @property
    def _demo_root(self) -> Path:
        return self.keys / "demo-authority.pem"

    def engine(self) -> "Engine":
        """Return what the web is given."""
        from app.engine import Engine, WebTerms

        return Engine(
            database=self.database,
            objects=self.objects,
            archive=self.archive,
            intake=self.intake,
            worklist=self.worklist,
            trust=self.trust,
            keys_directory=self.keys,
            node_name=self.settings.node,
            version=version("telerad"),
            started_at=self.clock(),
            demo=self.is_demo,
            ready_checks=self._checks(),
            retention=self.retention,
            completeness=self.completeness,
            sees_all=frozenset(self.settings.dicom.views_all),
            web=WebTerms(secure_cookies=self.settings.web.secure_cookies),
        )

    def _checks(self) -> "Mapping[str, Callable[[], str | None]]":
        if self.settings.dicom.tls_port is None:
            return {}
        from app import dicom_tls

        return {"dicom tls": lambda: dicom_tls.in_words(self.settings, at=self.clock())}

    def prepare(self, *, migrate: bool) -> None:
        """Check that the parts can carry the engine; bring the database up to date if asked.

        Raises
        ------
        Misconfigured
            They cannot, and why.
        """
        if self.settings.production and self.is_demo:
            raise DemoInProduction("the demo authority may not sign in production: remove it")
        if migrate and not self._is_current():
            from storage.migrate import upgrade

            upgrade(self.database)
        self.objects.probe()

    def _is_current(self) -> bool:
        with self.database.reading() as tx:
            return is_current(tx.connection)

    def reactions(self) -> Reactions:
        """Return who reacts to which fact: the whole table, from every package."""
        from ai_assist.reactions import reactions as ai_assist
        from app import priors, returns
        from app.readings import reactions as readings
        from dicom_node.examination import reactions as examination
        from dicom_node.notices import reactions as notices
        from dicom_node.reactions import reactions as dicom_node
        from health_record.reactions import reactions as health_record
        from worklist.reactions import reactions as worklist

        return {
            **self._prefetched(),
            **dicom_node(),
            **examination(),
            **notices(self.views),
            **worklist(self.worklist),
            **readings(),
            **priors.reactions(priors.bounds_of(self.settings.priors)),
            **ai_assist(self.shelf),
            **health_record(DESTINATIONS, returns.destinations),
        }

    def due_work(self) -> Sequence[DueWork]:
        """Return all work that is found by looking."""
        return [
            *self._settling(),
            *self._prefetching(),
            *self._ending_retention(),
            *self._purging(),
            *self._commitments(),
            *self._priors(),
            *self._examination(),
            *self._workitems(),
            *self._metadata(),
            *self._worklist_work(),
            *self._triage(),
            *self._deliveries(),
        ]

    def _prefetched(self) -> Reactions:
        from storage.cache import PackCache
        from storage.prefetch import reactions

        return reactions() if isinstance(self.objects, PackCache) else {}

    def _prefetching(self) -> Sequence[DueWork]:
        from storage.cache import PackCache
        from storage.prefetch import Prefetch

        if not isinstance(self.objects, PackCache):
            return []
        return Prefetch(self.database, self.objects).due_work()

    def _ending_retention(self) -> Sequence[DueWork]:
        from app.keeping import keeping_of
        from storage.retention_end import Ending, RetentionEnds

        ending = Ending(self.settings.retention.ending)
        return RetentionEnds(
            self.database, self.retention, ending=ending, keeping_of=keeping_of
        ).due_work()

    def _purging(self) -> Sequence[DueWork]:
        from app.keeping import keeping_of
        from storage.purge import Purger

        return Purger(
            self.database,
            self.packer,
            self.objects,
            keeping_of=keeping_of,
            derived_of=_metadata_of,
        ).due_work()

    def _settling(self) -> Sequence[DueWork]:
        from app.keeping import keeping_of
        from dicom_node.arrears import Arrears
        from dicom_node.key_objects import ManifestReading
        from dicom_node.readmitting import Readmission
        from dicom_node.rejecting import Rejecting
        from dicom_node.tasks import Settling

        rejecting = Rejecting(
            self.database,
            self.retention,
            keeping_of=keeping_of,
            shows_quality=self.settings.dicom.rejected_for_quality == "show",
        )
        settling = Settling(self.database, self.completeness)
        return [
            *ManifestReading(self.archive).due_work(),
            *rejecting.due_work(),
            *settling.due_work(),
            *Readmission(self.database, self.stored_objects, node=self.settings.node).due_work(),
            *Arrears(self.archive, self.stored_objects).due_work(),
        ]

    def _examination(self) -> Sequence[DueWork]:
        from dicom_node.examination import Examination

        return Examination(self.archive).due_work()

    def _commitments(self) -> Sequence[DueWork]:
        from dicom_node.commitment import CommitmentReports
        from dicom_node.committing import CommitmentRequests
        from dicom_node.notices import Notices
        from dicom_node.send import SendSettings

        settings = SendSettings(ae_title=self.settings.dicom.ae_title, secure=self.secure)
        return [
            *CommitmentReports(self.database, settings).due_work(),
            *CommitmentRequests(self.database, settings).due_work(),
            *Notices(self.database, settings).due_work(),
        ]

    def _priors(self) -> Sequence[DueWork]:
        from app.priors import bounds_of
        from dicom_node.prior_work import PriorWork
        from dicom_node.send import SendSettings

        settings = SendSettings(ae_title=self.settings.dicom.ae_title, secure=self.secure)
        return PriorWork(self.database, settings, bounds_of(self.settings.priors)).due_work()

    def _workitems(self) -> Sequence[DueWork]:
        from dicom_node.send import SendSettings
        from dicom_node.workitems.reports import WorkitemReports

        settings = SendSettings(ae_title=self.settings.dicom.ae_title, secure=self.secure)
        return WorkitemReports(self.database, settings).due_work()

    def _metadata(self) -> Sequence[DueWork]:
        from dicom_node.metadata_work import MetadataWork

        return MetadataWork(self.archive).due_work()

    def _worklist_work(self) -> Sequence[DueWork]:
        from worklist.tasks import WorklistWork

        return WorklistWork(self.database, self.worklist).due_work()

    def _triage(self) -> Sequence[DueWork]:
        from datetime import timedelta

        from ai_assist.tasks import TriageWork, due_work
        from dicom_node.apart import decompressed
        from dicom_node.as_shown import AsShown

        return due_work(
            TriageWork(
                database=self.database,
                archive=AsShown(self.archive),
                objects=self.objects,
                shelf=self.shelf,
                lease=timedelta(seconds=self.settings.ai.lease_s),
                decodable=decompressed,
            )
        )

    def _deliveries(self) -> Sequence[DueWork]:
        from datetime import timedelta

        from app.returns import Returns, as_dicom
        from app.well_filed import collect
        from health_record.delivery import RetryPolicy
        from health_record.tasks import Deliveries, DeliverySettings

        horizon = timedelta(days=self.settings.record.horizon_days)
        return Deliveries(
            self.database,
            self.objects,
            {"record": self._record()},
            collect=collect,
            further=Returns(
                self.database, password_of=self.orthanc_password, bounds=self.orthanc_bounds
            ).adapter_of,
            as_dicom=as_dicom,
            settings=DeliverySettings(
                retry=RetryPolicy(
                    first_wait=timedelta(seconds=self.settings.record.first_wait_s),
                    horizon=horizon,
                ),
                lease=timedelta(seconds=self.settings.record.lease_s),
            ),
        ).due_work()

    def _record(self) -> "RecordAdapter":
        told = self.settings.record
        if told.adapter == "fhir_r4":
            from health_record.adapters.fhir_r4 import FhirR4Record, FhirR4Settings

            token = told.fhir_token.get_secret_value() or None
            return FhirR4Record(FhirR4Settings(base_url=told.fhir_url, token=token))
        from health_record.adapters.folder import FolderRecord
        from health_record.seal import OrganisationSeal

        container = self.key_file(SEAL)
        if not container.exists():
            return FolderRecord(self.settings.data / "record")
        passphrase = told.seal_passphrase.get_secret_value()
        if not passphrase and self.is_demo:
            passphrase = DEMO_PASSPHRASE
        seal = OrganisationSeal(container.read_bytes(), passphrase, clock=self.clock)
        return FolderRecord(self.settings.data / "record", seal)


def _metadata_of(tx: Transaction, study_uid: str, instance_uids: frozenset[str]) -> list[str]:
    from dicom_node.series_metadata import kept_of

    return kept_of(tx, study_uid, instance_uids)
