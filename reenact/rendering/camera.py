"""Cameras, and videos in place of one: always the newest picture; older ones that nobody took are left out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Thread

import cv2
import numpy as np

from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError


@dataclass(frozen=True)
class Snapshot:
    """A picture of the camera.

    Attributes:
        image: uint8 RGB, H x W x 3.
        number: of the picture, from 0; gaps are pictures that came while the last one was being worked on.
        time: since the first picture, s.
        captured: when it arrived, on the clock of `time.perf_counter`, s.
    """

    image: np.ndarray
    number: int
    time: float
    captured: float


class _Newest:
    """Hands the newest picture from the camera's thread to whoever asks."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._snapshot: Snapshot | None = None
        self._ended = False
        self._error: UserError | None = None

    def put(self, snapshot: Snapshot) -> None:
        """Take the place of a picture that nobody has asked for yet."""
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify_all()

    def end(self, error: UserError | None = None) -> None:
        """No more pictures come; `error` is raised to whoever asks for one."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Snapshot]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._snapshot is not None or self._ended)
                snapshot, self._snapshot = self._snapshot, None
                if snapshot is None and self._error is not None:
                    raise self._error
            if snapshot is None:
                return
            yield snapshot


@contextmanager
def open_camera(source: str) -> Iterator[Iterator[Snapshot]]:
    """The pictures of a camera, each as new as can be.

    Args:
        source: number of a camera ("0" is the first), or a video, which is played at its own speed in its place.

    Raises:
        UserError: there is no such camera or file.
    """
    pictures = _of_camera(int(source)) if source.isdigit() else _of_file(Path(source))
    newest, stop = _Newest(), Event()
    first = next(pictures)

    def watch() -> None:
        """Hand on the pictures, those of a file at their times."""
        error = None
        try:
            start = time.perf_counter()
            newest.put(Snapshot(first[1], 0, 0.0, start))
            for number, (shown_at, image) in enumerate(pictures, 1):
                wait = 0.0 if shown_at is None else start + shown_at - (first[0] or 0.0) - time.perf_counter()
                if stop.wait(max(0.0, wait)):
                    return
                now = time.perf_counter()
                newest.put(Snapshot(image, number, now - start, now))
        except UserError as broken:
            error = broken
        finally:
            newest.end(error)

    thread = Thread(target=watch, name="reenact-camera", daemon=True)
    thread.start()
    try:
        yield iter(newest)
    finally:
        stop.set()
        thread.join(timeout=5)


def _of_camera(index: int) -> Iterator[tuple[float | None, np.ndarray]]:
    cv2.setLogLevel(0)
    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise UserError(
                f"--source: there is no camera {index} (or another program uses it); give another number, or a "
                "video in its place"
            )
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver allows it: no queue of old pictures
        while True:
            there, image = camera.read()
            if not there:
                raise UserError(f"--source: camera {index} gives no picture any more")
            yield None, np.ascontiguousarray(image[..., ::-1])
    finally:
        camera.release()


def _of_file(path: Path) -> Iterator[tuple[float | None, np.ndarray]]:
    media = probe(path)
    if media.kind != "video":
        raise UserError(f"--source: {path} is no video; give a video, or the number of a camera")
    for frame in read_frames(media):
        yield frame.time, frame.pixels()
