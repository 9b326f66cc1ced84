"""The first pass over the media: which faces are in which frames, and where scenes begin.

Of every face only its box, its landmarks and a thumbnail are kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from reenact.faces.detectors import Detector
from reenact.faces.face import Face, box_area
from reenact.faces.face_patch import FacePatch
from reenact.faces.scene_cuts import find_cuts, scene_change, scene_numbers, tiny_view
from reenact.media.frames import Frame
from reenact.media.probe import Passes
from reenact.runtime.parallel import ToolPool, batches, thread_map
from reenact.runtime.progress import progress

# Longer side of the pictures that faces are looked for in, px. The networks see 192 px of it at most.
DETECT_SIDE = 640
# Frames that are not used are still looked at this often, s, so that the face can be followed between used ones.
STRIDE = 0.2


@dataclass(frozen=True)
class Detection:
    """A face in one frame.

    Attributes:
        row: of the frame table.
        box: left, top, right, bottom, px.
        confidence: of the detector, 0 to 1.
        thumbnail: see `FacePatch.thumbnail`.
        landmarks: 68 x 2, px.
        sharpness: see `FacePatch.sharpness`.
    """

    row: int
    box: np.ndarray
    confidence: float
    thumbnail: np.ndarray
    landmarks: np.ndarray
    sharpness: float = 0.0

    @property
    def centre(self) -> np.ndarray:
        """Of the box: x, y, px."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def width(self) -> float:
        """Of the box, px."""
        return float(self.box[2] - self.box[0])

    @property
    def height(self) -> float:
        """Of the box, px."""
        return float(self.box[3] - self.box[1])

    @property
    def area(self) -> float:
        """Of the box, px^2."""
        return box_area(self.box)


@dataclass(frozen=True)
class ClipFaces:
    """What the first pass over the media finds.

    Attributes:
        faces: for every row of the frame table the faces of that frame; None if it was not looked at.
        cuts: rows that begin a new scene.
        size: width and height of each row's frame, px, N x 2.
        too_small: for every row the height of the highest face that was left out as too small, px; 0 if there was none.
        origin: time of the first frame of the file, s.
    """

    faces: list[list[Detection] | None]
    cuts: list[int]
    size: np.ndarray
    too_small: np.ndarray
    origin: float = 0.0

    @property
    def scene(self) -> np.ndarray:
        """Number of the scene of each row, from 0."""
        return scene_numbers(self.cuts, len(self.faces))


def detect_faces(
    passes: Passes, table: pd.DataFrame, detectors: list[Detector], min_face: int, threads: int = 1
) -> ClipFaces:
    """Look for faces in the frames that the table lists: in all used ones, and every STRIDE seconds between them.

    Args:
        passes: over the media that the table was made of; this is the first.
        table: frame table of stage `decode`.
        detectors: find the faces; each is used by one thread at a time.
        min_face: faces less high than this are left out, px of the frame.
        threads: how many look for faces at once; what is found does not depend on it.
    """
    faces: list[list[Detection] | None] = [None] * len(table)
    size, changes, too_small = np.zeros((len(table), 2)), np.zeros(len(table)), np.zeros(len(table))
    origin: list[float] = []
    pool = ToolPool(detectors)

    def detect(frames: list[tuple[int, Frame]]) -> list[tuple[int, np.ndarray, list[Detection]]]:
        """Row, tiny view and faces of each frame; in several threads."""
        images = [frame.pixels(DETECT_SIDE) for _, frame in frames]
        found = pool.use(lambda detector: detector.find_all(images))
        items = zip(frames, images, found, strict=True)
        return [(row, *_measure(row, frame, image, in_it)) for (row, frame), image, in_it in items]

    def listed() -> Iterator[tuple[int, Frame]]:
        """The frames, whose sizes are noted in passing."""
        for row, frame in progress(passes.listed(table, origin), len(table), "faces", shown=False):
            size[row] = frame.width, frame.height
            yield row, frame

    before: np.ndarray | None = None
    wanted = _sampled(listed(), table["role"].tolist())
    for batch in thread_map(detect, batches(wanted, detectors[0].batch), threads):
        for row, view, found in batch:
            changes[row] = 0.0 if before is None else scene_change(before, view)
            before = view
            faces[row] = [face for face in found if face.height >= min_face]
            too_small[row] = max((face.height for face in found if face.height < min_face), default=0.0)
    cuts = find_cuts(changes) if passes.media.kind == "video" else []
    return ClipFaces(faces, cuts, size, too_small, origin[0] if origin else 0.0)


def _measure(row: int, frame: Frame, image: np.ndarray, faces: list[Face]) -> tuple[np.ndarray, list[Detection]]:
    """The tiny view of a picture, and its faces in the coordinates of the frame."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = frame.height / image.shape[0]
    detections = []
    for face in faces:
        patch, in_frame = FacePatch.cut(grey, face.box), face.moved(scale)
        detections.append(
            Detection(row, in_frame.box, face.confidence, patch.thumbnail(face), in_frame.landmarks, patch.sharpness)
        )
    return tiny_view(grey), detections


def _sampled(listed: Iterable[tuple[int, Frame]], roles: list[str]) -> Iterator[tuple[int, Frame]]:
    """The frames that are used, and others every STRIDE seconds."""
    last = -np.inf
    for row, frame in listed:
        if roles[row] != "unused" or frame.time - last >= STRIDE:
            last = frame.time
            yield row, frame
