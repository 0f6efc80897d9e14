"""Receive one instance as a node of its own does and tell what is imported then.

python -m tests.app.lean_node DUTIES FOLDER CALLING_TITLE SOP_CLASS SOP_INSTANCE < DATA_SET
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.bootstrap import Parts
from app.serving import Duty, Serving
from app.settings_apart import read_apart
from dicom_node.admission import Announced
from dicom_node.uids import EXPLICIT_LITTLE
from tests.wire.speaker import Speaker

if TYPE_CHECKING:
    from app.settings import Settings


def _read(folder: Path) -> "Settings":
    from app.settings import changed, load

    return changed(load(folder), dicom={"port": 0})


if __name__ == "__main__":
    duties, folder, calling, sop_class, instance = sys.argv[1:]
    settings = read_apart(lambda: _read(Path(folder)))
    serving = Serving(Parts(settings), {Duty(each) for each in duties.split(",")})
    port = serving.start().dicom
    assert port is not None
    with Speaker(port, calling=calling) as speaker:
        speaker.associate((sop_class, EXPLICIT_LITTLE))
        announced = Announced(sop_class, instance, EXPLICIT_LITTLE)
        status = speaker.store(announced, sys.stdin.buffer.read())
        speaker.release()
    serving.stop()
    sys.stdout.write(json.dumps([status, sorted(sys.modules)]))
