"""The one person who is followed, among those who are seen."""

import numpy as np

from reenact.faces.detection import ClipFaces, Detection
from reenact.faces.tracking import Track, similarity, track_people
from reenact.runtime.errors import UserError
from reenact.settings.crop import face_point

# Who is seen in less than this fraction of the frames of the person seen most is not counted among the people of a
# clip.
_COUNTS = 0.1
# Detectors see a face in clouds and letters for a frame or two; a person stays for this many.
_SPURIOUS = 3
# Nor is somebody who passes through the middle for a moment the most central person.
_STAYS = 0.25


def choose_person(seen: ClipFaces, times: np.ndarray, face: str) -> tuple[dict[int, Detection], str]:
    """The detections, by row, of the one person of a video who is followed; empty if there is nobody.

    Args:
        seen: all faces.
        times: of each row as the file states them, s.
        face: setting `crop.face`.

    Returns:
        The detections, and who was seen and chosen, in words.

    Raises:
        UserError: the person whom `face` asks for is not there.
    """
    minimum = min(_SPURIOUS, sum(found is not None for found in seen.faces))
    people = [track for track in track_people(seen.faces, times, seen.cuts) if len(track.detections) >= minimum]
    if not people:
        return {}, "nobody is seen"
    longest = max(len(person.detections) for person in people)
    known = [person for person in people if len(person.detections) >= _COUNTS * longest]
    known.sort(key=lambda person: _median_x(person, seen.size))
    if face.isdigit():
        if int(face) >= len(known):
            raise UserError(f"crop.face: there is no person {face}; {_describe(known)}")
        chosen = known[int(face)]
    elif face_point(face):
        meant = _at_point(seen, _row_at(seen, times, face), face)
        chosen = next((p for p in people if any(d is meant for d in p.detections)), Track([meant]))
    else:
        chosen = max(people, key=lambda person: _rank(person, seen.size, face, longest))
    number = next((str(i) for i, person in enumerate(known) if person is chosen), "one who is hardly there")
    by_row = {detection.row: detection for detection in chosen.detections}
    return by_row, f"{_describe(known)}; following {number} (face: {face})"


def choose_in_photos(seen: ClipFaces, face: str) -> tuple[dict[int, Detection], str]:
    """One face a photo, by row; photos without it are left out.

    A point ("x,y at 3") means the face there in the photo of that number, counted from 0, and in the others the face
    most like it.

    Args:
        seen: all faces.
        face: setting `crop.face`.

    Returns:
        The detections, and how many faces there were, in words.

    Raises:
        UserError: the face that is asked for is in no photo.
    """
    photos = {row: found for row, found in enumerate(seen.faces) if found}
    if not photos:
        return {}, "nobody is seen"
    if face.isdigit():
        chosen = {row: sorted(found, key=_x)[int(face)] for row, found in photos.items() if int(face) < len(found)}
        if not chosen:
            most = max(map(len, photos.values()))
            raise UserError(f"crop.face: no photo has a person {face}; at most {most} faces are in one")
    elif point := face_point(face):
        row = min(int(point[2]), len(seen.faces) - 1)
        meant = _at_point(seen, row, face)
        chosen = {
            r: meant if r == row else max(found, key=lambda d: similarity(d, meant)) for r, found in photos.items()
        }
    elif face == "most_central":
        chosen = {row: min(found, key=lambda d: _eccentricity(d, seen.size[row])) for row, found in photos.items()}
    else:
        chosen = {row: max(found, key=lambda d: d.area) for row, found in photos.items()}
    several = sum(len(found) > 1 for found in photos.values())
    return chosen, f"{len(photos)} of {len(seen.faces)} photos show a face, {several} of them several (face: {face})"


def _row_at(seen: ClipFaces, times: np.ndarray, face: str) -> int:
    """The row nearest to the time of a point, among those that were looked at."""
    point = face_point(face)
    looked = [row for row, found in enumerate(seen.faces) if found is not None]
    if point is None or not looked:
        raise UserError(f"crop.face: {face!r} names no place in this clip")
    since = times[looked] - seen.origin
    if not since[0] - 0.5 <= point[2] <= since[-1] + 0.5:
        raise UserError(
            f"crop.face: {face!r} is outside of the frames that are used, {since[0]:.2f} to {since[-1]:.2f} s "
            "from the beginning of the video"
        )
    return looked[int(np.argmin(np.abs(since - point[2])))]


def _at_point(seen: ClipFaces, row: int, face: str) -> Detection:
    """The face at a point of one frame: the one nearest to it, which may be half its width away."""
    size, found = seen.size[row], seen.faces[row] or []
    numbers = zip((face_point(face) or ())[:2], size, strict=True)
    point = np.array([float(n.rstrip("%")) * (length / 100 if n.endswith("%") else 1) for n, length in numbers])
    near = [d for d in found if (np.abs(point - d.centre) <= (d.width, d.height)).all()]
    if not near:
        there = ", ".join(f"one around {d.centre[0]:.0f},{d.centre[1]:.0f}" for d in sorted(found, key=_x)) or "none"
        raise UserError(
            f"crop.face: {face!r} is not on a face; the frame has {size[0]:.0f} x {size[1]:.0f} px "
            f"and these faces: {there}"
        )
    return min(near, key=lambda d: float(np.linalg.norm(d.centre - point)))


def _describe(people: list[Track]) -> str:
    texts = []
    for number, person in enumerate(people):
        x, y = np.median([d.centre for d in person.detections], axis=0)
        height = np.median([d.height for d in person.detections])
        texts.append(f"{number} around {x:.0f},{y:.0f} ({height:.0f} px high, in {len(person.detections)} frames)")
    return f"{len(people)} {'person' if len(people) == 1 else 'people'}: {', '.join(texts)}"


def _x(detection: Detection) -> float:
    return float(detection.centre[0])


def _median_x(person: Track, size: np.ndarray) -> float:
    """How far to the right a person is, relative to the frame's width."""
    return float(np.median([d.centre[0] / size[d.row, 0] for d in person.detections]))


def _rank(person: Track, size: np.ndarray, face: str, longest: int) -> float:
    """How well a person fits the setting `face`; -inf for one who is hardly there, compared with `longest` frames."""
    if face == "most_central":
        if len(person.detections) < longest * _STAYS:
            return -np.inf
        return -float(np.mean([_eccentricity(d, size[d.row]) for d in person.detections]))
    return float(sum(d.area for d in person.detections))


def _eccentricity(detection: Detection, size: np.ndarray) -> float:
    """Distance of a face from the middle of its frame, in frame heights."""
    return float(np.linalg.norm(detection.centre - size / 2) / size[1])
