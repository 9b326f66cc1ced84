"""The build behind the page: it outlives the server, all clients see the same, and errors are the sentence they are."""

import http.client
import json
import subprocess
import sys
import time

import pytest
from builds import kill_build
from person_clips import portrait
from studio_client import Studio
from videos import write_video

from reenact.project import workflow
from reenact.project.folder import Project
from reenact.studio.server import project_token

SNAKEFILE = """
rule all:
    default_target: True
    input: "results/slow.txt"
rule slow:
    output: "results/slow.txt"
    log: "logs/slow/anna.log"
    shell: "echo working > {log}; while [ ! -e go ]; do sleep 0.1; done; touch {output}"
rule bad:
    output: "results/bad.txt"
    log: "logs/bad/anna.log"
    shell: "echo 'error: anna: has no face' > {log}; exit 1"
"""
SERVE = """
import sys
from pathlib import Path
from reenact.project import workflow
from reenact.studio.server import serve
folder = Path(sys.argv[1])
workflow.workflow_folder = lambda: folder
serve(folder, port=0, browser=False)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A project of a workflow of two rules, one of which waits for a file."""
    project = Project.create(tmp_path / "lab")
    (project.folder / "Snakefile").write_text(SNAKEFILE)
    write_video(project.folder / "videos/speech.mp4", [portrait()] * 3)
    write_video(project.folder / "videos/anna.mp4", [portrait()] * 3)
    project.add_identity("anna", project.folder / "videos/anna.mp4", consent="own")
    project.add_driver("speech", project.folder / "videos/speech.mp4")
    monkeypatch.setattr(workflow, "workflow_folder", lambda: project.folder)
    yield project
    kill_build(project)


def wait_for(studio, ready):
    end = time.monotonic() + 60
    while not ready(state := studio.json("GET", "/api/builds/current")):
        assert time.monotonic() < end, state
        time.sleep(0.1)
    return state


def serve(folder):
    """The server as a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(folder)], stdout=subprocess.PIPE, text=True)
    address = next(line for line in process.stdout if "token=" in line).strip()
    return process, Studio(folder, int(address.split(":")[2].split("/")[0]), address.partition("token=")[2])


def test_the_server_is_killed_in_the_middle_and_the_build_goes_on(lab):
    first, studio = serve(lab.folder)
    try:
        studio.json("POST", "/api/builds", {})
        wait_for(studio, lambda state: state["jobs"])
    finally:
        first.kill()
        first.wait()
    second, studio = serve(lab.folder)
    try:
        assert studio.token == project_token(lab.folder), "browsers are still known"
        assert studio.json("GET", "/api/builds/current")["status"] == "running"
        page = studio.page("/parts/build")
        assert "Stop" in page and "0 of 1 steps" in page
        (lab.folder / "go").touch()
        assert wait_for(studio, lambda state: state["status"] != "running")["status"] == "done"
        assert "Everything is built" in studio.page("/parts/build")
    finally:
        second.kill()
        second.wait()


class Client:
    """A browser that listens."""

    def __init__(self, studio):
        self.connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=30)
        self.connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {studio.token}"})
        self.lines = iter(self.connection.getresponse().readline, b"")

    def until(self, status):
        """States of the build until it has this status."""
        seen = []
        for line in self.lines:
            if line.startswith(b"data: {"):
                seen.append(json.loads(line[6:]))
                if seen[-1]["status"] == status:
                    self.connection.close()
                    return seen
        raise AssertionError(seen)


def test_two_clients_see_the_same_and_one_stops_it(lab, start):
    studio = start(lab.folder)
    clients = [Client(studio), Client(studio)]
    studio.json("POST", "/api/builds", {})
    assert studio.error("POST", "/api/builds", {})[0] == 409
    # A job is announced before its log is there.
    wait_for(studio, lambda state: studio.ask("GET", "/api/builds/current/logs/1")[2] == b"working\n")
    assert studio.ask("GET", "/api/builds/current/logs/2")[0] == 404
    studio.json("DELETE", "/api/builds/current")
    ends = [client.until("stopped")[-1] for client in clients]
    assert ends[0] == ends[1] and ends[0]["stages"]["slow"] == {"done": 0, "total": 1, "failed": 0}
    assert "Go on" in studio.page("/parts/build") and "stopped" in studio.page("/parts/pill")
    assert studio.error("DELETE", "/api/builds/current")[0] == 409


def test_an_error_is_its_sentence_with_the_log_beside(lab, start):
    studio = start(lab.folder)
    assert studio.error("GET", "/api/builds/current")[0] == 404
    studio.json("POST", "/api/builds", {"targets": ["results/bad.txt"]})
    state = wait_for(studio, lambda state: state["status"] != "running")
    assert state["failures"] == [{"stage": "bad", "of": "anna", "why": "anna: has no face", "log": "logs/bad/anna.log"}]
    page = studio.page("/parts/build")
    assert "anna: has no face" in page and 'hx-get="/api/builds/current/logs/1"' in page
    assert b"has no face" in studio.ask("GET", "/api/builds/current/logs/1")[2]
    (lab.folder / "videos/anna.mp4").unlink()
    status, sentence = studio.error("POST", "/api/builds", {})
    assert status == 422 and "identities.anna.media" in sentence
