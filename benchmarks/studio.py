"""What the studio costs: a still of each kind of motion, a webcam's picture, and a page that listens.

Usage: python benchmarks/studio.py PROJECT IDENTITY DRIVER     (a project that is built, such as the demo's: .)

Prints, for each, the time until the answer (median) and the computing of the server (mean), ms; of the page its share
of a core, at rest and while a build runs, which is begun for it: delete results/unsigned before, so that it has
something to do. Run it with OMP_NUM_THREADS=1 to see one core's work. POSIX with /proc.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from reenact.data.clip import Clip
from reenact.data.sequence import frames_of

COUNT = 12
MOTIONS = {"follows": {}, "expression only": {"follow": "expression_only"}, "relative": {"relative": True}}
LISTENS = 20
"""How long a page listens, s."""


class Server:
    """A studio in a process of its own."""

    def __init__(self, project: Path) -> None:
        command = [sys.executable, "-m", "reenact", "studio", str(project), "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        address = next(line.strip() for line in self.process.stdout if "token=" in line)
        self.port, self.token = int(address.split(":")[2].split("/")[0]), address.partition("token=")[2]

    def computed(self) -> float:
        """CPU time so far, s."""
        values = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """An answer, which must not be a refusal."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        connection.close()
        return text

    def measure(self, name: str, ask: Callable[[int], object]) -> None:
        """Print what COUNT requests take, after one that loads what is needed."""
        ask(0)
        before, times = self.computed(), []
        for number in range(COUNT):
            began = time.perf_counter()
            ask(number)
            times.append(time.perf_counter() - began)
        computing = 1000 * (self.computed() - before) / COUNT
        print(f"{name:28} {1000 * np.median(times):6.0f} ms, computing {computing:4.0f} ms", flush=True)

    def still(self, wish: dict, number: int) -> None:
        """Ask for a still of one of COUNT frames."""
        self.ask("POST", "/api/edits", json.dumps(wish | {"place": number / COUNT}).encode())

    def listen(self) -> float:
        """The share of a core that a page takes which listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {self.token}"})
        connection.getresponse().readline()
        before = self.computed()
        time.sleep(LISTENS)
        return (self.computed() - before) / LISTENS


def main(project: Path, identity: str, driver: str) -> None:
    """Measure all of it."""
    clip = Clip(project / "results/clips" / driver / "crops.zip")
    names = frames_of(clip, "drive")["image"].tolist()[:COUNT]
    images = [cv2.imencode(".jpg", clip.image(name)[..., ::-1])[1].tobytes() for name in names]
    server = Server(project.absolute())
    try:
        for name, pose in MOTIONS.items():
            wish = {"identity": identity, "driver": driver, "pose": pose}
            server.measure(f"still, {name}", partial(server.still, wish))
        live = f"/api/live/{identity}?session=0123456789abcdef"
        server.measure("webcam", lambda n: server.ask("POST", live, images[n % len(images)], "image/jpeg"))
        print(f"{'a page that listens':28} {server.listen():.1%} of a core", flush=True)
        server.ask("POST", "/api/builds", b"{}")
        print(f"{'the same during a build':28} {server.listen():.1%} of a core", flush=True)
    finally:
        server.process.terminate()
        server.process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])
