"""Orthanc servers that are followed: registration and progress, what was pulled and returned."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table

from storage.tables import METADATA, UtcDateTime

ORTHANCS = Table(
    "orthancs",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("url", String(500), nullable=False),
    Column("organisation_id", String(64), nullable=False, comment="the site it belongs to"),
    Column("issuer", String(64), nullable=False, comment="of patient ids sent without one"),
    Column("username", String(64), nullable=False),
    Column("character_set", String(32), nullable=False, comment="where (0008,0005) is absent"),
    Column("ca_file", String(500), nullable=False, comment="empty: the system's authorities"),
    Column("added_at", UtcDateTime, nullable=False),
    Column("last_change", BigInteger, nullable=False, comment="all up to it is durable here"),
    Column("print", String(64), nullable=False, comment="recognises that change again"),
    Column("newest", BigInteger, nullable=False, comment="the last change it told of"),
    Column("seen_at", UtcDateTime, nullable=True),
    Column("failures", Integer, nullable=False, comment="looks in a row that failed"),
    Column("next_at", UtcDateTime, nullable=True),
    Column("trouble_code", String(80), nullable=True),
    Column("trouble", String(300), nullable=True, comment="a sentence for a person"),
    Column("trouble_at", UtcDateTime, nullable=True),
    Column("started_over_at", UtcDateTime, nullable=True),
    Column("started_over_why", String(300), nullable=False),
    Column("holder", String(64), nullable=True, comment="the node that follows it now"),
    Column("held_until", UtcDateTime, nullable=True),
)

ORTHANC_STUDIES = Table(
    "orthanc_studies",
    METADATA,
    Column("orthanc", String(32), primary_key=True),
    Column("study_uid", String(64), primary_key=True),
    Column("pulling", Boolean, nullable=False, comment="begun and not all of it here yet"),
    Column("pulled_at", UtcDateTime, nullable=False),
    Index("ix_orthanc_studies_study_uid", "study_uid"),
)

ORTHANC_INSTANCES = Table(
    "orthanc_instances",
    METADATA,
    Column("orthanc", String(32), primary_key=True),
    Column("id", String(44), primary_key=True, comment="Orthanc's id of the instance"),
    Column("file_uuid", String(64), nullable=False, comment="another file has another one"),
    Column("outcome", String(16), nullable=False),
    Column("pulled_at", UtcDateTime, nullable=False),
)

ORTHANC_RETURNS = Table(
    "orthanc_returns",
    METADATA,
    Column("orthanc", String(32), primary_key=True),
    Column("instance_uid", String(64), primary_key=True, comment="ours: never pulled back"),
    Column("begun_at", UtcDateTime, nullable=False),
)
