"""Linking the faces of a clip to people: by place from frame to frame, by looks across gaps and cuts.

Within a scene faces are matched by the overlap of their boxes (as SORT does; Bewley et al., ICIP 2016). What overlaps
in consecutive frames is one person; a pause or a cut ends the track. Then tracks that look alike are joined.
"""

from dataclasses import dataclass, field

import numpy as np

from reenact.faces.detection import Detection
from reenact.faces.face import box_iou
from reenact.faces.scene_cuts import scene_numbers

# Least overlap (IoU) of one face in two frames, and the longest pause between them, s.
LINK_IOU, LINK_SECONDS = 0.2, 0.5
# Tracks are joined from this similarity on. Measured on 52 talking-head clips: of two people, the most alike of 60 x 60
# frames are below 0.84 in 99 % of pairs.
SAME_PERSON = 0.9
# Most thumbnails of a track that are compared.
_GALLERY = 200


@dataclass
class Track:
    """Detections of one person, one a frame at most, in order of time."""

    detections: list[Detection] = field(default_factory=list)

    @property
    def rows(self) -> set[int]:
        """Rows of the frame table in which the person is seen."""
        return {detection.row for detection in self.detections}

    def gallery(self) -> np.ndarray:
        """Thumbnails spread over the track, at most 200 x 576 float32."""
        chosen = np.unique(np.linspace(0, len(self.detections) - 1, _GALLERY).astype(int))
        return np.stack([self.detections[i].thumbnail for i in chosen]).astype(np.float32)


def track_people(faces: list[list[Detection] | None], times: np.ndarray, cuts: list[int]) -> list[Track]:
    """The people of a clip, those who are seen most often first.

    Args:
        faces: the faces of each row; None where it was not looked at.
        times: of each row, s.
        cuts: rows that begin a new scene.
    """
    return _join(_link(faces, times, scene_numbers(cuts, len(faces))))


def similarity(a: Detection, b: Detection) -> float:
    """Correlation of two faces' thumbnails, -1 to 1."""
    return float(a.thumbnail.astype(np.float32) @ b.thumbnail.astype(np.float32))


def _link(faces: list[list[Detection] | None], times: np.ndarray, scenes: np.ndarray) -> list[Track]:
    """Tracks by place: of each frame's faces and those seen last, the matching that overlaps most."""
    tracks: list[Track] = []
    recent: list[Track] = []
    for row, found in enumerate(faces):
        if not found:
            continue
        recent = [track for track in recent if _continues(track.detections[-1].row, row, times, scenes)]
        iou = np.zeros((len(recent), len(found)))
        for i, track in enumerate(recent):
            iou[i] = [box_iou(track.detections[-1].box, face.box) for face in found]
        linked = set()
        for i, j in _matched(iou):
            if iou[i, j] >= LINK_IOU:
                recent[i].detections.append(found[j])
                linked.add(j)
        new = [Track([face]) for j, face in enumerate(found) if j not in linked]
        tracks += new
        recent += new
    return tracks


def _matched(iou: np.ndarray) -> list[tuple[int, int]]:
    """Row and column of the pairs whose overlaps have the greatest sum; each row and column is in one pair at most."""
    if iou.size <= 1:
        return [(0, 0)] if iou.size else []
    # Only here: it takes a quarter of a second, and most clips show one face at a time.
    from scipy.optimize import linear_sum_assignment

    return list(zip(*linear_sum_assignment(-iou), strict=True))


def _continues(last: int, row: int, times: np.ndarray, scenes: np.ndarray) -> bool:
    """Whether a track whose last row is `last` may go on at `row`."""
    return bool(scenes[last] == scenes[row] and times[row] - times[last] <= LINK_SECONDS)


def _join(tracks: list[Track]) -> list[Track]:
    """Tracks of one person made one: they look alike somewhere, and are never seen in one frame."""
    people: list[Track] = []
    galleries: list[np.ndarray] = []
    rows: list[set[int]] = []
    for track in sorted(tracks, key=lambda track: -len(track.detections)):
        gallery, own = track.gallery(), track.rows
        alike = [
            -1.0 if own & others else float((gallery @ other.T).max())
            for other, others in zip(galleries, rows, strict=True)
        ]
        best = int(np.argmax(alike)) if alike else -1
        if best >= 0 and alike[best] >= SAME_PERSON:
            together = people[best].detections + track.detections
            people[best].detections = sorted(together, key=lambda detection: detection.row)
            galleries[best] = np.concatenate([galleries[best], gallery])
            rows[best] |= own
        else:
            people.append(track)
            galleries.append(gallery)
            rows.append(own)
    return sorted(people, key=lambda person: -len(person.detections))
