"""Finding faces over time, and linking those of one person to a track.

Of every face only its box, landmarks and a thumbnail of 24 x 24 px are kept. Coordinates are continuous: pixel i of a
frame covers [i, i + 1).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd

from reenact.faces.detectors import Detector
from reenact.faces.face import Face, box_iou
from reenact.media.probe import Frame, Passes
from reenact.runtime.parallel import ToolPool, batches, thread_map

# Longer side of the pictures that faces are looked for in, px. The networks see 192 px of it at most.
DETECT_SIDE = 640
# Frames that are not used are still looked at this often, s, so that the face can be followed between used ones.
STRIDE = 0.2

# Linking of one face to the next. Measured on 52 talking-head clips: likeness of one person from frame to frame
# is above 0.84 in 99 % of frames; of two people, at the most alike of 60 x 60 frames, below 0.84 in 99 % of pairs.
LINK_OVERLAP, LINK_LIKENESS, LINK_SECONDS = 0.2, 0.6, 0.5
SAME_PERSON = 0.9
# A face that was covered for a while, and is seen again at its place in the same view while nobody else was there, need be
# alike only this much: expressions change meanwhile.
RETURN_LIKENESS, RETURN_SECONDS = 0.5, 3.0
# A cut: the 16 x 16 picture changes by this much (mean, of 255), and far more than in the frames around.
CUT_CHANGE, CUT_RATIO = 16.0, 4.0

# Where eyes (their middles) and mouth lie in the 24 x 24 px thumbnail that likeness is measured on.
_THUMBNAIL = 24
_EYES_AND_MOUTH = (7 + 9j, 17 + 9j, 12 + 18j)
# The means of both eyes' and the mouth's landmarks, of the 68.
_MEANS = np.array(
    [
        [(first <= number < last) / (last - first) for number in range(68)]
        for first, last in ((36, 42), (42, 48), (48, 68))
    ]
)
# Faces are measured at this size, px, so that sharpness is the same for a small sharp face and a large soft one.
_PATCH = 96


@dataclass(frozen=True)
class Sighting:
    """A face in one frame.

    Attributes:
        row: of the frame table.
        box: left, top, right, bottom, px.
        confidence: of the detector, 0 to 1.
        thumbnail: unit vector.
        landmarks: 68 x 2, px.
        sharpness: see `face_sharpness`.
    """

    row: int
    box: np.ndarray
    confidence: float
    thumbnail: np.ndarray
    landmarks: np.ndarray
    sharpness: float = 0.0

    @property
    def middle(self) -> np.ndarray:
        """Of the box, px."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def area(self) -> float:
        """Of the box, px^2."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


@dataclass
class Track:
    """Sightings of one person, one a frame at most, in order of time."""

    sightings: list[Sighting] = field(default_factory=list)

    @property
    def rows(self) -> set[int]:
        """Rows of the frame table in which the person is seen."""
        return {sighting.row for sighting in self.sightings}

    def gallery(self, most: int = 200) -> np.ndarray:
        """Thumbnails spread over the track, at most `most` x 576 float32."""
        chosen = np.unique(np.linspace(0, len(self.sightings) - 1, most).astype(int))
        return np.stack([self.sightings[i].thumbnail for i in chosen]).astype(np.float32)


@dataclass(frozen=True)
class Sightings:
    """What the first pass over the media finds.

    Attributes:
        faces: for every row of the frame table the faces of that frame; None if it was not looked at.
        cuts: rows that begin a new scene.
        size: width and height of each row's frame, px, N x 2.
        too_low: for every row the height of the highest face that was left out as too low, px; 0 if there was none.
        origin: time of the first frame of the file, s.
        views: 16 x 16 px grey copies of the frames that were looked at, uint8, N x 16 x 16.
    """

    faces: list[list[Sighting] | None]
    cuts: list[int]
    size: np.ndarray
    too_low: np.ndarray
    origin: float = 0.0
    views: np.ndarray | None = None

    @property
    def scene(self) -> np.ndarray:
        """Number of the scene of each row, from 0."""
        return np.searchsorted(self.cuts, np.arange(len(self.faces)), side="right")


# ---- finding faces ------------------------------------------------------------------------------------------


def find_faces(
    passes: Passes, table: pd.DataFrame, detectors: list[Detector], min_face: int, threads: int = 1
) -> Sightings:
    """Look for faces in the frames that the table lists: in all used ones, and every STRIDE seconds between them.

    Args:
        passes: over the media that the table was made of; this is the first.
        table: frame table of stage `decode`.
        detectors: find the faces; each is used by one thread at a time.
        min_face: faces less high than this are left out, px of the frame.
        threads: how many look for faces at once; what is found does not depend on it.
    """
    faces: list[list[Sighting] | None] = [None] * len(table)
    size, changes, too_low = np.zeros((len(table), 2)), np.zeros(len(table)), np.zeros(len(table))
    views = np.zeros((len(table), 16, 16), np.uint8)
    origin: list[float] = []
    shared = ToolPool(detectors)

    def look(frames: list[tuple[int, Frame]]) -> list[tuple[int, np.ndarray, list[Sighting]]]:
        images = [frame.pixels(DETECT_SIDE) for _, frame in frames]
        found = shared.use(lambda detector: detector.find_all(images))
        return [(row, *_sighted(row, frame, image, seen)) for (row, frame), image, seen in zip(frames, images, found)]

    listed = _remembered(passes.listed(table, origin), size)
    wanted = _looked_at(listed, table["role"].tolist())
    before = None
    for batch in thread_map(look, batches(wanted, detectors[0].batch), threads):
        for row, small, found in batch:
            changes[row] = 0.0 if before is None else scene_change(views[before], small)
            before, views[row] = row, small
            heights = [sighting.box[3] - sighting.box[1] for sighting in found]
            faces[row] = [sighting for sighting, height in zip(found, heights) if height >= min_face]
            too_low[row] = max([height for height in heights if height < min_face], default=0.0)
    cuts = find_cuts(changes) if passes.media.kind == "video" else []
    return Sightings(faces, cuts, size, too_low, origin[0] if origin else 0.0, views)


def _sighted(row: int, frame: Frame, image: np.ndarray, found: list[Face]) -> tuple[np.ndarray, list[Sighting]]:
    """A tiny grey copy of the picture, and its faces in the coordinates of the frame."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA)
    scale = frame.height / image.shape[0]
    sightings = []
    for face in found:
        placed = face.moved(scale)
        patch = _Patch.cut(grey, face.box)
        thumbnail, sharpness = _thumbnail(patch, face), patch.sharpness
        sightings.append(Sighting(row, placed.box, face.confidence, thumbnail, placed.landmarks, sharpness))
    return small, sightings


def scene_change(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two small grey pictures, of 255; too little for a cut where they show one view."""
    change = float(cv2.absdiff(a, b).mean())
    return min(change, CUT_CHANGE) if same_view(a, b) else change


def same_view(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two small grey pictures show one place: two fifths of what is not black (bars) are as they were.

    A face that fills half of the picture, and moves, leaves that much.
    """
    lit = np.maximum(a, b) > 24
    return bool(lit.any() and (cv2.absdiff(a, b)[lit] <= 4).mean() >= 0.4)


def _remembered(listed: Iterable[tuple[int, Frame]], size: np.ndarray) -> Iterator[tuple[int, Frame]]:
    for row, frame in listed:
        size[row] = frame.width, frame.height
        yield row, frame


def _looked_at(listed: Iterable[tuple[int, Frame]], roles: list[str]) -> Iterator[tuple[int, Frame]]:
    """The frames that are used, and others every STRIDE seconds."""
    last = -np.inf
    for row, frame in listed:
        if roles[row] != "unused" or frame.time - last >= STRIDE:
            last = frame.time
            yield row, frame


def face_sharpness(grey: np.ndarray, box: np.ndarray) -> float:
    """How much fine detail a face has, whatever its size, light and contrast: 0 = none.

    The variance of the Laplacian as a share of that of the picture, on the face box brought to 96 x 96 px.

    Args:
        grey: uint8, H x W.
        box: left, top, right, bottom, px.
    """
    return _Patch.cut(grey, box).sharpness


@dataclass(frozen=True)
class _Patch:
    """A face box brought to 96 x 96 px, on which all that is said about its pixels is measured.

    Attributes:
        pixels: uint8, 96 x 96; 1 x 1 where the box lies outside of the picture.
        corner: left and top of the box in the picture, px.
        step: width and height of one of its pixels in the picture, px.
    """

    pixels: np.ndarray
    corner: np.ndarray
    step: np.ndarray

    @classmethod
    def cut(cls, grey: np.ndarray, box: np.ndarray) -> "_Patch":
        """From a grey picture, uint8, H x W; the box is left, top, right, bottom, px."""
        height, width = grey.shape
        left, top = max(0, int(box[0])), max(0, int(box[1]))
        right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        if right - left < 2 or bottom - top < 2:
            return cls(np.zeros((1, 1), np.uint8), np.zeros(2), np.ones(2))
        part = grey[top:bottom, left:right]
        kind = cv2.INTER_AREA if part.shape[0] > _PATCH else cv2.INTER_CUBIC
        step = np.array([right - left, bottom - top]) / _PATCH
        return cls(cv2.resize(part, (_PATCH, _PATCH), interpolation=kind), np.array([left, top]), step)

    @property
    def sharpness(self) -> float:
        """See `face_sharpness`."""
        detail = cv2.meanStdDev(cv2.Laplacian(self.pixels, cv2.CV_32F))[1].item() ** 2
        return detail / max(cv2.meanStdDev(self.pixels)[1].item() ** 2, 1.0)


def find_cuts(changes: np.ndarray) -> list[int]:
    """Rows that begin a new scene, from the change of the picture at each row (mean of 255; 0 if not looked at)."""
    looked = np.flatnonzero(changes > 0)
    values = changes[looked]
    cuts = []
    for i in np.flatnonzero(values > CUT_CHANGE):
        around = np.delete(values[max(0, i - 6) : i + 7], min(i, 6))
        if not len(around) or values[i] > CUT_RATIO * np.median(around):
            cuts.append(int(looked[i]))
    return cuts


def _thumbnail(patch: _Patch, face: Face) -> np.ndarray:
    """The inner face, upright, 24 x 24 px, as a vector of zero mean and unit length (float16, 576)."""
    source = [complex(x, y) for x, y in (_MEANS @ face.landmarks).tolist()]
    # Similarity by least squares: complex numbers turn rotation and scale into one factor.
    middle, goal = sum(source) / 3, sum(_EYES_AND_MOUTH) / 3
    centred = [point - middle for point in source]
    turn = sum(point.conjugate() * (aim - goal) for point, aim in zip(centred, _EYES_AND_MOUTH)) / sum(
        abs(point) ** 2 for point in centred
    )
    shift = goal - turn * middle
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    # Taken from the patch, where a pixel of the thumbnail is about two: samples of a large face itself would be noise.
    matrix[:, 2] += matrix[:, :2] @ patch.corner
    matrix[:, :2] *= patch.step
    pixels = (
        cv2.warpAffine(patch.pixels, matrix, (_THUMBNAIL, _THUMBNAIL), borderMode=cv2.BORDER_REPLICATE)
        .astype(np.float32)
        .ravel()
    )
    pixels -= pixels.mean()
    return (pixels / max(math.sqrt(pixels @ pixels), 1e-6)).astype(np.float16)


# ---- linking them -------------------------------------------------------------------------------------------


def link(
    faces: list[list[Sighting] | None], times: np.ndarray, cuts: list[int], views: np.ndarray | None = None
) -> list[Track]:
    """Link the faces of neighbouring frames by overlap and likeness, then tracks of the same person by likeness.

    Args:
        faces: the faces of each row; None where it was not looked at.
        times: of each row, s.
        cuts: rows that begin a new scene; across them place says nothing, and likeness must be that of one person.
        views: small grey copies of the rows' frames; without them nobody returns from behind a hand by place alone.
    """
    scene = np.searchsorted(cuts, np.arange(len(faces)), side="right")
    finished: list[Track] = []
    running: list[Track] = []
    for row, found in enumerate(faces):
        for track in [t for t in running if times[row] - times[t.sightings[-1].row] > LINK_SECONDS]:
            running.remove(track)
            finished.append(track)
        offers = []
        for track in running:
            last = track.sightings[-1]
            least = LINK_LIKENESS if scene[last.row] == scene[row] else SAME_PERSON
            for sighting in found or []:
                shared, alike = box_iou(last.box, sighting.box), likeness(last, sighting)
                if shared >= LINK_OVERLAP and alike >= least:
                    offers.append((shared + alike, track, sighting))
        taken: set[int] = set()
        for _, track, sighting in sorted(offers, key=lambda offer: -offer[0]):
            if id(track) not in taken and id(sighting) not in taken:
                track.sightings.append(sighting)
                taken |= {id(track), id(sighting)}
        running += [Track([sighting]) for sighting in found or [] if id(sighting) not in taken]
    alone = np.array([len(found or []) <= 1 for found in faces])

    def returns(a: Sighting, b: Sighting) -> bool:
        """Whether the face of `b` is that of `a`, covered for a while."""
        near = times[b.row] - times[a.row] <= RETURN_SECONDS and box_iou(a.box, b.box) >= LINK_OVERLAP
        still = views is not None and scene[a.row] == scene[b.row] and same_view(views[a.row], views[b.row])
        return bool(near and still and alone[a.row : b.row + 1].all())

    return _join(finished + running, times, scene, returns)


def likeness(a: Sighting, b: Sighting) -> float:
    """Correlation of two faces' thumbnails, -1 to 1."""
    return float(a.thumbnail.astype(np.float32) @ b.thumbnail.astype(np.float32))


def _join(
    tracks: list[Track], times: np.ndarray, scene: np.ndarray, returns: Callable[[Sighting, Sighting], bool]
) -> list[Track]:
    """Tracks of one person joined to one: never seen in one frame together, and alike or filling a gap. Longest first."""
    people: list[Track] = []
    galleries: list[np.ndarray] = []
    rows: list[set[int]] = []
    for track in sorted(tracks, key=lambda t: -len(t.sightings)):
        gallery, own = track.gallery(), track.rows
        alike = [float((gallery @ g.T).max()) if not (own & r) else -1.0 for g, r in zip(galleries, rows)]
        alike = [1.0 if a > -1 and _fills_gap(p, track, times, scene) else a for p, a in zip(people, alike)]
        alike = [1.0 if a >= RETURN_LIKENESS and _comes_back(p, track, returns) else a for p, a in zip(people, alike)]
        best = int(np.argmax(alike)) if alike else -1
        if best >= 0 and alike[best] >= SAME_PERSON:
            people[best].sightings = sorted(people[best].sightings + track.sightings, key=lambda sighting: sighting.row)
            galleries[best] = np.concatenate([galleries[best], gallery])
            rows[best] |= own
        else:
            people.append(track)
            galleries.append(gallery)
            rows.append(own)
    return people


def _fills_gap(person: Track, track: Track, times: np.ndarray, scene: np.ndarray) -> bool:
    """Whether a short track lies where the person was just before and is again just after: a blurred or hidden face."""
    first, last = track.sightings[0], track.sightings[-1]
    before = next((s for s in reversed(person.sightings) if s.row < first.row), None)
    after = next((s for s in person.sightings if s.row > last.row), None)
    if before is None or after is None or any(first.row < s.row < last.row for s in person.sightings):
        return False
    return all(
        box_iou(a.box, b.box) >= LINK_OVERLAP
        and times[b.row] - times[a.row] <= LINK_SECONDS
        and scene[a.row] == scene[b.row]
        for a, b in ((before, first), (last, after))
    )


def _comes_back(person: Track, track: Track, returns: Callable[[Sighting, Sighting], bool]) -> bool:
    """Whether a track begins where the person was last seen, or ends where the person is seen next."""
    first, last = track.sightings[0], track.sightings[-1]
    before = next((s for s in reversed(person.sightings) if s.row < first.row), None)
    after = next((s for s in person.sightings if s.row > last.row), None)
    return (before is not None and returns(before, first)) or (after is not None and returns(last, after))
