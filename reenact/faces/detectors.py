"""What finds faces: one small interface, and the choice that the settings make."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from reenact.faces.face import Face
from reenact.settings.crop import CropSettings


class Detector(Protocol):
    """Finds the faces of pictures; one thread at a time may use it.

    Attributes:
        batch: how many pictures are best given at once.
    """

    batch: int

    def find_all(self, images: list[np.ndarray]) -> list[list[Face]]:
        """The faces of each picture (uint8 RGB, H x W x 3), larger ones first."""

    def close(self) -> None:
        """Free what is loaded."""


@contextmanager
def open_detectors(settings: CropSettings, device: str, threads: int) -> Iterator[list[Detector]]:
    """Load the detector of the settings, once for a job: one for each thread where that makes it faster.

    mediapipe runs on the CPU, one picture at a time, so each thread has its own (the networks are small, and every
    picture is looked at by itself: who looks makes no difference). face-alignment has one, which takes batches.

    Args:
        settings: `detector` and what belongs to it.
        device: of face-alignment's networks: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: that will look for faces.

    Raises:
        UserError: weights of face-alignment cannot be had.
    """
    detectors: list[Detector] = []
    try:
        # Imported only here: each takes seconds, and one of them is enough.
        if settings.detector == "mediapipe":
            from reenact.faces.mediapipe_faces import FaceFinder

            with ThreadPoolExecutor(threads) as pool:
                detectors += pool.map(lambda _: FaceFinder(min_confidence=settings.min_confidence), range(threads))
        else:
            from reenact.faces.face_alignment_faces import FaceAlignmentFinder

            detectors.append(
                FaceAlignmentFinder(settings.face_alignment, min_confidence=settings.min_confidence, device=device)
            )
        yield detectors
    finally:
        for detector in detectors:
            detector.close()
