"""Many machines on one: five processes that share PostgreSQL, RabbitMQ, S3 and a FHIR server."""

from collections.abc import Mapping
from pathlib import Path

from tests.flows.deployment import QUICK, Deployment, Process

ROLES = {"listen": "node1", "serve": "web1", "work": "work1"}


def many_machines(data: Path, servers: Mapping[str, str]) -> Deployment:
    """Return two listeners, a web, a relay and a Celery worker, each with its own data folder."""
    shared = {**QUICK, **servers}
    processes = {
        "node1": _process(data, "node1", shared, "listen", "--dicom-port", "0", "--json"),
        "node2": _process(data, "node2", shared, "listen", "--dicom-port", "0", "--json"),
        "web1": _process(data, "web1", shared, "serve", "--http-port", "0", "--json"),
        "relay1": _process(data, "relay1", shared, "relay", "--json"),
        "work1": _process(data, "work1", shared, "work", announces=False),
    }
    return Deployment(data / "web1", shared | {"TELERAD_NODE": "outside"}, processes, ROLES)


def _process(
    data: Path, node: str, shared: Mapping[str, str], *command: str, announces: bool = True
) -> Process:
    folder = data / node
    folder.mkdir()
    return Process(
        [command[0], "--data", str(folder), *command[1:]],
        {**shared, "TELERAD_NODE": node},
        folder / "log",
        announces,
    )
