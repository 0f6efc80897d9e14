"""OpenStack Swift with its S3 interface: a production object store on one loopback port."""

import getpass
import secrets
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.missing import ProgramMissing
from tests.services.ports import accepts, free_port
from tests.services.process import Recipe, running

# Swift pins libraries that the engine does not want; it lives in an environment of its own.
ENVIRONMENT = Path(__file__).parents[2] / ".venv-services"
BACKENDS = ("account", "container", "object")

MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for named in sys.argv[1:]:
    name, port = named.split("=")
    ring = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1",
                  "weight": 1.0})
    ring.rebalance()
    ring.get_ring().save(f"{name}.ring.gz")
"""

HASHING = """\
[swift-hash]
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = gold
default = yes
"""

BACKEND = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/node
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_level = WARNING
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """\
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth slo \
versioned_writes symlink copy proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_telerad_tester = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
allow_no_owner = true
max_upload_part_num = 10000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:copy]
use = egg:swift#copy
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swift:
    """A running object store that speaks S3."""

    port: int
    secret_key: str
    access_key: str = "telerad:tester"
    region: str = "us-east-1"

    @property
    def endpoint(self) -> str:
        """Host and port, as an S3 client takes them."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def swift() -> Iterator[Swift]:
    """Run an empty object store for the time of a block.

    Raises
    ------
    ProgramMissing
        Swift is not installed in the environment for services.
    """
    if not (ENVIRONMENT / "bin" / "swift-proxy-server").is_file():
        raise ProgramMissing("OpenStack Swift")
    folder = Path(tempfile.mkdtemp(prefix="telerad-s3-"))
    secret = secrets.token_hex(16)
    try:
        ports = {name: free_port() for name in (*BACKENDS, "proxy")}
        _configure(folder, ports, secret)
        with ExitStack() as servers:
            for name in BACKENDS:
                servers.enter_context(running(_backend(folder, name, ports[name])))
            servers.enter_context(running(_proxy(folder, ports["proxy"])))
            yield Swift(port=ports["proxy"], secret_key=secret)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, ports: dict[str, int], secret: str) -> None:
    (folder / "node" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(HASHING.format(suffix=secrets.token_hex(8)))
    user = getpass.getuser()
    for name in BACKENDS:
        text = BACKEND.format(folder=folder, name=name, port=ports[name], user=user)
        (folder / f"{name}.conf").write_text(text)
    text = PROXY.format(folder=folder, port=ports["proxy"], user=user, secret=secret)
    (folder / "proxy.conf").write_text(text)
    subprocess.run(
        [str(ENVIRONMENT / "bin" / "python"), "-W", "ignore", "-c", MAKE_RINGS]
        + [f"{name}={ports[name]}" for name in BACKENDS],
        cwd=folder,
        check=True,
    )


def _backend(folder: Path, name: str, port: int) -> Recipe:
    return Recipe(
        name=f"Swift {name} server",
        command=[ENVIRONMENT / "bin" / f"swift-{name}-server", folder / f"{name}.conf"],
        cwd=folder,
        log=folder / f"{name}.log",
        ready=lambda: accepts(port),
    )


def _proxy(folder: Path, port: int) -> Recipe:
    return Recipe(
        name="Swift proxy",
        command=[ENVIRONMENT / "bin" / "swift-proxy-server", folder / "proxy.conf"],
        cwd=folder,
        log=folder / "proxy.log",
        ready=lambda: _healthy(port),
    )


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
