"""Another web process on the database of a clinic: ``python -m tests.app.web_beside DATA URL``."""

import sys
import threading
from pathlib import Path

from app.bootstrap import Parts
from app.http.application import create_app
from app.settings import AiSettings, Settings, StorageSettings
from tests.app.web_server import WebServer

if __name__ == "__main__":
    storage = StorageSettings(database_url=sys.argv[2])
    settings = Settings(data=Path(sys.argv[1]), ai=AiSettings(enabled=False), storage=storage)
    sys.stdout.write(f"serves {WebServer(create_app(Parts(settings).engine())).url}\n")
    sys.stdout.flush()
    threading.Event().wait()
