"""Receive one instance as a node of its own does and tell what is imported then.

python -m tests.app.lean_node DUTIES FOLDER CALLING_TITLE SOP_CLASS SOP_INSTANCE < DATA_SET
"""

import json
import sys
from pathlib import Path

from app.bootstrap import Parts
from app.serving import Duty, Serving
from app.settings import changed, load
from dicom_node.admission import Announced
from dicom_node.uids import EXPLICIT_LITTLE
from tests.wire.speaker import Speaker

if __name__ == "__main__":
    duties, folder, calling, sop_class, instance = sys.argv[1:]
    settings = changed(load(Path(folder)), web={}, dicom={"port": 0})
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
