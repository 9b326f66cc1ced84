"""A studio of a project in a folder of its own, on a port of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from studio_client import Studio

from reenact.project.folder import Project

# Where the extra is not installed, there is nothing to test.
collect_ignore_glob = [] if find_spec("fastapi") and find_spec("uvicorn") else ["test_*.py"]


@pytest.fixture
def start() -> Iterator[Callable[[Path], Studio]]:
    """A function that starts the studio of a folder in this process."""
    import uvicorn

    from reenact.studio.app import create_app
    from reenact.studio.server import listen_at, project_token

    servers = []

    def run(folder: Path) -> Studio:
        listener = listen_at("127.0.0.1", 0)
        token = project_token(folder)
        config = uvicorn.Config(create_app(folder, token), log_level="warning", timeout_graceful_shutdown=1, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        end = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.02)
        return Studio(folder, listener.getsockname()[1], token)

    yield run
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def studio(tmp_path: Path, start: Callable[[Path], Studio]) -> Studio:
    """A studio of a new project."""
    Project.create(tmp_path / "lab")
    return start(tmp_path / "lab")
