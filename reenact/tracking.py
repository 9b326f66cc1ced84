"""Finding faces over time, and following one person through a clip.

Of every face only its box, landmarks and a thumbnail of 24 x 24 px are kept. Coordinates are continuous: pixel i of a
frame covers [i, i + 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd

from reenact.errors import UserError
from reenact.faces import Face, FaceFinder, overlap
from reenact.media import Frame, Media, read_frames

# Longer side of the pictures that faces are looked for in, px. The networks see 192 px of it at most.
DETECT_SIDE = 640
# Frames that are not used are still looked at this often, s, so that the face can be followed between used ones.
STRIDE = 0.2

# Linking of one face to the next. Measured on 52 talking-head clips: likeness of one person from frame to frame
# is above 0.84 in 99 % of frames; of two people, at the most alike of 60 x 60 frames, below 0.84 in 99 % of pairs.
LINK_OVERLAP, LINK_LIKENESS, LINK_SECONDS = 0.2, 0.6, 0.5
SAME_PERSON = 0.9
# A cut: the 16 x 16 picture changes by this much (mean, of 255), and far more than in the frames around.
CUT_CHANGE, CUT_RATIO = 16.0, 4.0

# Where eyes (their middles) and mouth lie in the 24 x 24 px thumbnail that likeness is measured on.
_THUMBNAIL = 24
_EYES_AND_MOUTH = np.array([7 + 9j, 17 + 9j, 12 + 18j])


@dataclass(frozen=True)
class Sighting:
    """A face in one frame: its box (left, top, right, bottom, px), confidence, thumbnail (unit vector), landmarks (68 x 2, px)."""

    row: int
    box: np.ndarray
    confidence: float
    thumbnail: np.ndarray
    landmarks: np.ndarray


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
    """

    faces: list[list[Sighting] | None]
    cuts: list[int]
    size: np.ndarray


# ---- finding faces ------------------------------------------------------------------------------------------


def find_faces(media: Media, table: pd.DataFrame, finder: FaceFinder, min_face: int) -> Sightings:
    """Look for faces in the frames that the table lists: in all used ones, and every STRIDE seconds between them.

    Args:
        media: what the table was made of.
        table: frame table of stage `decode`.
        finder: finds the faces.
        min_face: faces less high than this are left out, px of the frame.
    """
    faces: list[list[Sighting] | None] = [None] * len(table)
    size = np.zeros((len(table), 2))
    changes = np.zeros(len(table))
    before = None
    looked_at = -np.inf
    for row, frame in listed_frames(media, table):
        size[row] = frame.width, frame.height
        if table["role"].iloc[row] == "unused" and frame.time - looked_at < STRIDE:
            continue
        looked_at = frame.time
        image = frame.pixels(DETECT_SIDE)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(float)
        changes[row] = 0.0 if before is None else np.abs(small - before).mean()
        before = small
        scale = frame.height / image.shape[0]
        found = []
        for face in finder.find(image):
            placed = face.moved(scale)
            if placed.box[3] - placed.box[1] >= min_face:
                found.append(Sighting(row, placed.box, face.confidence, _thumbnail(grey, face), placed.landmarks))
        faces[row] = found
    return Sightings(faces, find_cuts(changes) if media.kind == "video" else [], size)


def listed_frames(media: Media, table: pd.DataFrame) -> Iterator[tuple[int, Frame]]:
    """The frames that the table lists, each with its row; reading ends with the last of them.

    Raises:
        UserError: the media lack some of them.
    """
    rows = {int(index): row for row, index in enumerate(table["index"])}
    found = 0
    for frame in read_frames(media):
        if frame.index in rows:
            found += 1
            yield rows[frame.index], frame
            if found == len(rows):
                return
    raise UserError(f"{media.path}: {len(rows) - found} frames of its table are not in it; it has changed, run decode again")


def find_cuts(changes: np.ndarray) -> list[int]:
    """Rows that begin a new scene, from the change of the picture at each row (mean of 255; 0 if not looked at)."""
    looked = np.flatnonzero(changes > 0)
    values = changes[looked]
    cuts = []
    for i in np.flatnonzero(values > CUT_CHANGE):
        around = np.delete(values[max(0, i - 6):i + 7], min(i, 6))
        if not len(around) or values[i] > CUT_RATIO * np.median(around):
            cuts.append(int(looked[i]))
    return cuts


def _thumbnail(grey: np.ndarray, face: Face) -> np.ndarray:
    """The inner face, upright, 24 x 24 px, as a vector of zero mean and unit length (float16, 576)."""
    marks = face.landmarks.astype(float)
    source = np.stack([marks[36:42].mean(axis=0), marks[42:48].mean(axis=0), marks[48:68].mean(axis=0)]) @ [1, 1j]
    # Similarity by least squares: complex numbers turn rotation and scale into one factor.
    centred = source - source.mean()
    turn = np.vdot(centred, _EYES_AND_MOUTH - _EYES_AND_MOUTH.mean()) / np.vdot(centred, centred)
    shift = _EYES_AND_MOUTH.mean() - turn * source.mean()
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    # A large face is reduced first, or the few samples taken of it would be noise.
    reduce = min(1.0, 2 * abs(turn))
    if reduce < 1:
        left, top = np.floor(np.maximum(face.points.min(axis=0), 0)).astype(int)
        right, bottom = np.ceil(np.maximum(face.points.max(axis=0), [left + 2, top + 2])).astype(int)
        part = grey[top:bottom, left:right]
        if part.size:
            grey = cv2.resize(part, None, fx=reduce, fy=reduce, interpolation=cv2.INTER_AREA)
            matrix[:, 2] += matrix[:, :2] @ [left, top]
            matrix[:, :2] /= reduce
    pixels = cv2.warpAffine(grey, matrix, (_THUMBNAIL, _THUMBNAIL), borderMode=cv2.BORDER_REPLICATE).astype(np.float32).ravel()
    pixels -= pixels.mean()
    return (pixels / max(float(np.linalg.norm(pixels)), 1e-6)).astype(np.float16)


# ---- linking them -------------------------------------------------------------------------------------------


def link(faces: list[list[Sighting] | None], times: np.ndarray, cuts: list[int]) -> list[Track]:
    """Link the faces of neighbouring frames by overlap and likeness, then tracks of the same person by likeness.

    Args:
        faces: the faces of each row; None where it was not looked at.
        times: of each row, s.
        cuts: rows that begin a new scene; across them place says nothing, and likeness must be that of one person.
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
                shared, alike = overlap(last.box, sighting.box), likeness(last, sighting)
                if shared >= LINK_OVERLAP and alike >= least:
                    offers.append((shared + alike, track, sighting))
        taken: set[int] = set()
        for _, track, sighting in sorted(offers, key=lambda offer: -offer[0]):
            if id(track) not in taken and id(sighting) not in taken:
                track.sightings.append(sighting)
                taken |= {id(track), id(sighting)}
        running += [Track([sighting]) for sighting in found or [] if id(sighting) not in taken]
    return _join(finished + running, times, scene)


def likeness(a: Sighting, b: Sighting) -> float:
    """Correlation of two faces' thumbnails, -1 to 1."""
    return float(a.thumbnail.astype(np.float32) @ b.thumbnail.astype(np.float32))


def _join(tracks: list[Track], times: np.ndarray, scene: np.ndarray) -> list[Track]:
    """Tracks of one person joined to one: never seen in one frame together, and alike or filling a gap. Longest first."""
    people: list[Track] = []
    galleries: list[np.ndarray] = []
    rows: list[set[int]] = []
    for track in sorted(tracks, key=lambda t: -len(t.sightings)):
        gallery, own = track.gallery(), track.rows
        alike = [float((gallery @ g.T).max()) if not (own & r) else -1.0 for g, r in zip(galleries, rows)]
        alike = [1.0 if a > -1 and _fills_gap(p, track, times, scene) else a for p, a in zip(people, alike)]
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
        overlap(a.box, b.box) >= LINK_OVERLAP and times[b.row] - times[a.row] <= LINK_SECONDS and scene[a.row] == scene[b.row]
        for a, b in ((before, first), (last, after))
    )


# ---- one person ---------------------------------------------------------------------------------------------


def choose_person(seen: Sightings, times: np.ndarray, face: str) -> dict[int, Sighting]:
    """The sightings, by row, of the one person who is followed; empty if there is nobody.

    Args:
        seen: what `find_faces` found.
        times: of each row, s.
        face: setting `crop.face`, "largest" or "most_central".
    """
    people = link(seen.faces, times, seen.cuts)
    if not people:
        return {}
    longest = max(len(person.sightings) for person in people)
    chosen = max(people, key=lambda person: _rank(person, seen.size, face, longest))
    return {sighting.row: sighting for sighting in chosen.sightings}


def choose_in_photos(seen: Sightings, face: str) -> dict[int, Sighting]:
    """One face a photo, by row: the largest or the most central; photos without a face are left out.

    Args:
        seen: what `find_faces` found.
        face: setting `crop.face`, "largest" or "most_central".
    """
    chosen = {}
    for row, found in enumerate(seen.faces):
        if found:
            central = min(found, key=lambda sighting: _eccentricity(sighting, seen.size[row]))
            chosen[row] = central if face == "most_central" else max(found, key=lambda s: (s.box[2] - s.box[0]) * (s.box[3] - s.box[1]))
    return chosen


def _rank(person: Track, size: np.ndarray, face: str, longest: int) -> float:
    """How well a person fits the setting `face`; -inf for those who are hardly there beside the `longest` track (sightings)."""
    boxes = np.stack([sighting.box for sighting in person.sightings])
    if face == "most_central":
        # Somebody who passes through the middle for a moment is not meant.
        if len(boxes) < longest / 4:
            return -np.inf
        return -float(np.mean([_eccentricity(s, size[s.row]) for s in person.sightings]))
    return float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum())


def _eccentricity(sighting: Sighting, size: np.ndarray) -> float:
    """Distance of a face from the middle of its frame, in frame heights."""
    middle = (sighting.box[:2] + sighting.box[2:]) / 2
    return float(np.linalg.norm(middle - size / 2) / size[1])
