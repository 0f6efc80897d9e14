"""Settings: one frozen model a concern, each field with its unit in the name and its reason.

They come from ``telerad.toml`` in the data directory and from the environment
(``TELERAD_<SECTION>__<FIELD>``, which wins); `app.bootstrap` reads both once.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from kernel.errors import Misconfigured

PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""This machine, local networks and VPNs (RFC 1918, 3927, 4193, 4291, 6598)."""

_PREFIX = "TELERAD_"


class SettingsWrong(Misconfigured):
    """A setting does not exist, or its value cannot be."""

    code = "settings.wrong"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StorageSettings(_Section):
    """Where things lie."""

    database_url: str = ""
    """Empty: SQLite in the data directory.  Else ``postgresql://user:password@host/name``."""
    objects_url: str = ""
    """Empty: local disk.  Else ``http(s)://host:port/bucket`` of any S3 server."""
    s3_access_key: str = ""
    """Access key of the S3 server."""
    s3_secret_key: SecretStr = SecretStr("")
    """Secret of the S3 server; from the environment rather than the file."""
    cache_gb: float = Field(default=20.0, ge=0)
    """Packs of an S3 server kept on local disk, in GB, those read last; 0 keeps none."""
    scrub_mb_per_s: float = Field(default=5.0, ge=0)
    """How fast what is kept is re-read against its digests, in MB/s; 0 never."""
    scrub_days: float = Field(default=30.0, gt=0)
    """A pass begins so many days after the one before began, if that is over."""
    segment_mb: int = 64
    """Size of a journal segment: large enough that a study rarely crosses, quick to zero-fill."""


class RetentionSettings(_Section):
    """How long studies are kept, and how long a withdrawal can be undone."""

    years: int = Field(default=25, ge=1, le=200)
    """Of a study without another figure; set what the law of the place asks for."""
    by_modality: dict[str, int] = {}
    """Years by modality, such as ``{ MG = 30 }``; goes before that of the organisation."""
    by_organisation: dict[str, int] = {}
    """Years by the id of the organisation that sent the study."""
    ending: Literal["propose", "withdraw"] = "propose"
    """What is done with a study whose time is over: listed for a person, or withdrawn at once."""
    grace_days: float = Field(default=30.0, ge=0)
    """So long a withdrawal can be undone; then the bytes are removed."""


class DicomSettings(_Section):
    """The DICOM node."""

    ae_title: str = Field(default="TELERAD", pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")
    """Our application entity title; calls to another are refused."""
    host: str = "0.0.0.0"  # noqa: S104 - modalities call from other machines
    """Address the node listens on."""
    port: int = Field(default=11112, ge=0, le=65535)
    """The IANA port for DICOM; 0 takes a free one."""
    tls_port: int | None = Field(default=None, ge=0, le=65535)
    """Port for DICOM over TLS (IANA: 2762); 0 takes a free one, without it there is none."""
    tls_certificate: str = "tls/node.pem"
    """Our certificate and its chain (PEM); a path that is not absolute begins in the data."""
    tls_key: str = "tls/node.key"
    """Its key (PEM, without passphrase), readable by the node alone."""
    tls_client_ca: str = ""
    """Authorities (PEM) whose certificates peers may show; empty: just those bound to peers."""
    tls_crl: str = ""
    """Revocation lists (PEM) of those authorities; empty: nobody is asked. A certificate whose
    authority has no list there that holds now is refused."""
    plain_networks: tuple[str, ...] = PRIVATE_NETWORKS
    """From where calls without TLS are answered; a title alone proves nothing (ADR 16)."""
    quiet_s: float = 20.0
    """A study is complete when nothing of it came for so long (no other evidence is at hand)."""
    max_associations: int = 64
    """Associations served at once; a thread and at most some MB each."""
    zone: str = ""
    """IANA time zone in which the modalities' worklist speaks of dates and times; empty: that of
    the modality's own organisation."""
    views_all: tuple[str, ...] = ()
    """Organisations whose peers may find every study; others find their own (ADR 14)."""
    rejected_for_quality: Literal["hide", "show"] = "hide"
    """What is seen of images that a rejection note takes back for their quality (113001, IHE IOCM);
    shown, they stay in regular use everywhere, and the note beside them says what they are."""
    max_matches: int = 10_000
    """Answers of one query before it ends with a warning."""
    max_associations_per_peer: int = 16
    """So that one site cannot take all of them."""


class PriorsSettings(_Section):
    """Earlier studies that are fetched from peers with ``--priors`` when a case opens."""

    studies: int = Field(default=5, ge=0, le=100)
    """At most so many of a patient from one peer, the latest; 0 fetches none."""
    years: int = Field(default=5, ge=1, le=150)
    """Studies that are older than so many years before that of the case are left."""
    images: int = Field(default=3000, ge=1)
    """A study of more images, as its peer counts, is left to ``telerad fetch``."""
    at_once: int = Field(default=2, ge=1, le=4)
    """Peers that may send at once; one of them sends one study at a time."""
    again_hours: float = Field(default=12.0, ge=0)
    """A peer is asked for the same patient again after so long, if another case opens."""
    move_minutes: float = Field(default=15.0, gt=0)
    """A peer that did not send a study in this time is asked for it again later."""
    give_up_hours: float = Field(default=24.0, gt=0)
    """So long a peer that cannot be reached is tried."""


class OrthancSettings(_Section):
    """Following Orthanc servers; each is registered by ``telerad orthanc add``."""

    poll_s: float = Field(default=5.0, gt=0)
    """How often an Orthanc is asked for changes; one in trouble is asked later and later."""
    connect_s: float = Field(default=5.0, gt=0)
    """How long to wait until it takes a connection."""
    silence_s: float = Field(default=30.0, gt=0)
    """How long it may be silent within an answer."""
    instance_mb: int = Field(default=4096, gt=0)
    """A larger instance is set aside with its reason."""


class WebSettings(_Section):
    """The web server."""

    host: str = "127.0.0.1"
    """Address; put a TLS proxy in front of anything else than loopback."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free one."""
    secure_cookies: bool = False
    """Set where the proxy serves HTTPS: cookies are then never sent in clear."""
    max_connections: int = Field(default=512, ge=16)
    """Open at once, event channels among them; who waits without a request makes room first."""


class SupervisorSettings(_Section):
    """When ``telerad up`` ends a process that hangs and starts it anew; 0 is never."""

    silent_s: float = Field(default=30.0, ge=0)
    """So long the loop of a port or of the web may not turn; time this machine slept is not
    counted."""
    stuck_s: float = Field(default=180.0, ge=0)
    """So long a commit or a look of the relay may take: longer than disks and their drivers try
    for, which is 30 s a command."""
    start_s: float = Field(default=300.0, ge=0)
    """So long the start of a process may go no further; each step of it counts, and each instance
    that it recovers from the journal, so that the whole may take longer."""


class RelaySettings(_Section):
    """The relay around outbox and due work."""

    lease_s: float = 15.0
    """A fact that was handed over is handed over again after so long without an answer."""


class BrokerSettings(_Section):
    """Celery's broker."""

    url: str = ""
    """Empty: reactions run in the relay.  Else ``amqp://user:password@host//`` of a RabbitMQ."""


class WorklistSettings(_Section):
    """Queue and rotation."""

    urgent_h: float = 24.0
    """Within what time an urgent request is due: 3 to 24 hours (KZ §8)."""
    planned_h: float = 72.0
    """Within what time a planned one is due: the organisation's own rule (KZ §17)."""

    offer_s: float = 900.0
    """How long an offer waits for an answer before the next consultant in turn gets it."""
    lease_s: float = 3600.0
    """How long a silent reader keeps a case; every saved word renews it."""
    triage_wait_s: float = 300.0
    """A case is queued after so long, whether or not the AI has answered."""


class AiSettings(_Section):
    """AI pre-triage."""

    enabled: bool = True
    """The kill switch: off, every case is queued with the reason 'switched off'."""
    lease_s: float = 90.0
    """A model run whose worker fell silent is taken over after so long."""
    models: str = ""
    """A further directory of MONAI bundles beside those that are shipped."""


class RecordSettings(_Section):
    """Delivery to the health record."""

    adapter: Literal["folder", "fhir_r4"] = "folder"
    """``folder`` (signed FHIR documents on disk) or ``fhir_r4``."""
    fhir_url: str = ""
    """Base URL of the FHIR server."""
    fhir_token: SecretStr = SecretStr("")
    """Bearer token for it; from the environment rather than the file."""
    lease_s: float = 120.0
    """An attempt whose worker fell silent is taken over after so long."""
    first_wait_s: float = Field(default=5.0, gt=0)
    """The pause after a first attempt that did not get through; it doubles up to 15 minutes."""
    horizon_days: float = 7.0
    """An unreachable record is retried for so long before a person has to look."""
    seal_passphrase: SecretStr = SecretStr("")
    """Passphrase of the organisation's seal (PKCS#12 in the keys directory)."""


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    data: Path
    """The data directory: database, journal, objects, keys."""
    node: str = Field(default="node1", pattern=r"^[a-z0-9]{1,30}$")
    """The name of this node; part of each journal segment's name, so unique among nodes."""
    production: bool = False
    """On: JSON logs, and neither twins nor the demo authority are accepted."""
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
    dicom: DicomSettings = DicomSettings()
    priors: PriorsSettings = PriorsSettings()
    orthanc: OrthancSettings = OrthancSettings()
    web: WebSettings = WebSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    relay: RelaySettings = RelaySettings()
    broker: BrokerSettings = BrokerSettings()
    worklist: WorklistSettings = WorklistSettings()
    ai: AiSettings = AiSettings()
    record: RecordSettings = RecordSettings()

    @property
    def database_url(self) -> str:
        """The database, SQLite in the data directory unless another is named."""
        return self.storage.database_url or f"sqlite:///{self.data / 'telerad.db'}"


def load(data: Path) -> Settings:
    """Read ``telerad.toml`` of a data directory, then the environment over it.

    Raises
    ------
    SettingsWrong
        A name is not a setting, or a value cannot be.
    """

    class FromHere(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            assert isinstance(env_settings, EnvSettingsSource)
            _require_known(env_settings.env_vars)
            file = TomlConfigSettingsSource(settings_cls, toml_file=data / "telerad.toml")
            return init_settings, env_settings, file

    try:
        return FromHere(data=data)
    except ValidationError as error:
        raise SettingsWrong(_sentence(error)) from error
    except (OSError, ValueError) as error:  # not TOML, not UTF-8, not readable
        raise SettingsWrong(f"{data / 'telerad.toml'} cannot be read: {error}") from error


def changed(
    settings: Settings,
    *,
    web: Mapping[str, object] | None = None,
    dicom: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings with some fields of a section replaced, as the command line does.

    Raises
    ------
    SettingsWrong
        A value cannot be.
    """
    try:
        return settings.model_copy(
            update={
                "web": WebSettings.model_validate({**settings.web.model_dump(), **(web or {})}),
                "dicom": DicomSettings.model_validate(
                    {**settings.dicom.model_dump(), **(dicom or {})}
                ),
            }
        )
    except ValidationError as error:
        raise SettingsWrong(_sentence(error)) from error


def masked(settings: Settings) -> dict[str, object]:
    """Return every setting by its dotted name, secrets and passwords in URLs masked."""
    shown: dict[str, object] = {}
    for name, value in settings.model_dump().items():
        inner = value if isinstance(value, dict) else {"": value}
        for key, each in inner.items():
            shown[f"{name}.{key}".rstrip(".")] = _mask(each)
    return shown


def _mask(value: object) -> object:
    if isinstance(value, SecretStr):
        return str(value)
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, rest = value.split("://", 1)
        return f"{scheme}://****@{rest.rsplit('@', 1)[1]}"
    return value


def _require_known(environment: Iterable[str]) -> None:
    """Refuse a name such as TELERAD_DICM__PORT, which would else be passed over in silence."""
    for name in sorted(environment):
        upper = name.upper()
        section = upper.removeprefix(_PREFIX).split("__")[0].lower()
        if upper.startswith(_PREFIX) and section not in Settings.model_fields:
            raise SettingsWrong(f"{upper} in the environment is not a setting")


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"there is no setting '{name}'"
    if name.endswith("ae_title"):
        return f"the setting '{name}' is an AE title: 1 to 16 printable ASCII characters"
    return f"the setting '{name}' cannot be used: {first['msg'][0].lower()}{first['msg'][1:]}"
