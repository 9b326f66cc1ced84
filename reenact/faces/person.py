"""The one person who is followed, among those who are seen."""

import numpy as np

from reenact.faces.tracking import Sighting, Sightings, Track, likeness, link
from reenact.runtime.errors import UserError
from reenact.settings.crop import face_point

# Who is seen in less than this share of the frames of the person seen most is not counted among the people of a clip.
_COUNTS = 0.1
# Detectors see a face in clouds and letters for a frame or two; a person stays for this many.
_CHANCE = 3
# Somebody who passes through the middle for a moment is not the most central one.
_STAYS = 0.25


def choose_person(seen: Sightings, times: np.ndarray, face: str) -> tuple[dict[int, Sighting], str]:
    """The sightings, by row, of the one person of a video who is followed; empty if there is nobody.

    Args:
        seen: what `find_faces` found.
        times: of each row as the file states them, s.
        face: setting `crop.face`.

    Returns:
        The sightings, and who was seen and chosen, in words.

    Raises:
        UserError: the person whom `face` asks for is not there.
    """
    least = min(_CHANCE, sum(found is not None for found in seen.faces))
    people = [person for person in link(seen.faces, times, seen.cuts, seen.views) if len(person.sightings) >= least]
    if not people:
        return {}, "nobody is seen"
    longest = max(len(person.sightings) for person in people)
    known = sorted(
        (p for p in people if len(p.sightings) >= _COUNTS * longest), key=lambda person: _across(person, seen.size)
    )
    if face.isdigit():
        if int(face) >= len(known):
            raise UserError(f"crop.face: there is no person {face}; {_described(known)}")
        chosen = known[int(face)]
    elif face_point(face):
        sighting = _at_point(seen, _row_at(seen, times, face), face)
        chosen = next((person for person in people if any(s is sighting for s in person.sightings)), Track([sighting]))
    else:
        chosen = max(people, key=lambda person: _rank(person, seen.size, face, longest))
    number = next((str(i) for i, person in enumerate(known) if person is chosen), "one who is hardly there")
    return {
        sighting.row: sighting for sighting in chosen.sightings
    }, f"{_described(known)}; following {number} (face: {face})"


def choose_in_photos(seen: Sightings, face: str) -> tuple[dict[int, Sighting], str]:
    """One face a photo, by row; photos without it are left out.

    A point ("x,y at 3") is looked up in the photo of that number, counted from 0; in the others the face most like it.

    Args:
        seen: what `find_faces` found.
        face: setting `crop.face`.

    Returns:
        The sightings, and how many faces there were, in words.

    Raises:
        UserError: the face that is asked for is in no photo.
    """
    shown = {row: found for row, found in enumerate(seen.faces) if found}
    if not shown:
        return {}, "nobody is seen"
    if face.isdigit():
        chosen = {row: sorted(found, key=_left)[int(face)] for row, found in shown.items() if int(face) < len(found)}
        if not chosen:
            raise UserError(
                f"crop.face: no photo has a person {face}; at most {max(map(len, shown.values()))} faces are in one"
            )
    elif point := face_point(face):
        row = min(int(point[2]), len(seen.faces) - 1)
        meant = _at_point(seen, row, face)
        chosen = {r: meant if r == row else max(found, key=lambda s: likeness(s, meant)) for r, found in shown.items()}
    elif face == "most_central":
        chosen = {row: min(found, key=lambda s: _eccentricity(s, seen.size[row])) for row, found in shown.items()}
    else:
        chosen = {row: max(found, key=lambda s: s.area) for row, found in shown.items()}
    several = sum(len(found) > 1 for found in shown.values())
    return chosen, f"{len(shown)} of {len(seen.faces)} photos show a face, {several} of them several (face: {face})"


def _row_at(seen: Sightings, times: np.ndarray, face: str) -> int:
    """The row nearest to the time of a point, among those that were looked at."""
    point = face_point(face)
    looked = [row for row, found in enumerate(seen.faces) if found is not None]
    if point is None or not looked:
        raise UserError(f"crop.face: {face!r} names no place in this clip")
    since = times[looked] - seen.origin
    if not since[0] - 0.5 <= point[2] <= since[-1] + 0.5:
        raise UserError(
            f"crop.face: {face!r} is outside of the frames that are used, {since[0]:.2f} to {since[-1]:.2f} s from the beginning of the video"
        )
    return looked[int(np.argmin(np.abs(since - point[2])))]


def _at_point(seen: Sightings, row: int, face: str) -> Sighting:
    """The face at a point of one frame: the one nearest to it, which may be half its width away."""
    point = face_point(face)
    found = seen.faces[row] or []
    size = seen.size[row]
    place = np.array(
        [float(n.rstrip("%")) * (length / 100 if n.endswith("%") else 1) for n, length in zip(point or (), size)]
    )
    near = [
        s
        for s in found
        if (place >= s.box[:2] - 0.5 * (s.box[2:] - s.box[:2])).all()
        and (place <= s.box[2:] + 0.5 * (s.box[2:] - s.box[:2])).all()
    ]
    if not near:
        there = "; ".join(f"one around {s.middle[0]:.0f},{s.middle[1]:.0f}" for s in sorted(found, key=_left)) or "none"
        raise UserError(
            f"crop.face: {face!r} is not on a face; the frame has {size[0]:.0f} x {size[1]:.0f} px and these faces: {there}"
        )
    return min(near, key=lambda s: float(np.linalg.norm(s.middle - place)))


def _described(people: list[Track]) -> str:
    texts = []
    for number, person in enumerate(people):
        middle = np.median([s.middle for s in person.sightings], axis=0)
        height = np.median([s.box[3] - s.box[1] for s in person.sightings])
        texts.append(
            f"{number} around {middle[0]:.0f},{middle[1]:.0f} ({height:.0f} px high, in {len(person.sightings)} frames)"
        )
    return f"{len(people)} {'person' if len(people) == 1 else 'people'}: {', '.join(texts)}"


def _across(person: Track, size: np.ndarray) -> float:
    """How far to the right of the frame a person is, share of its width."""
    return float(np.median([s.middle[0] / size[s.row, 0] for s in person.sightings]))


def _left(sighting: Sighting) -> float:
    return float(sighting.middle[0])


def _rank(person: Track, size: np.ndarray, face: str, longest: int) -> float:
    """How well a person fits the setting `face`; -inf for those who are hardly there beside the `longest` track (sightings)."""
    if face == "most_central":
        if len(person.sightings) < longest * _STAYS:
            return -np.inf
        return -float(np.mean([_eccentricity(s, size[s.row]) for s in person.sightings]))
    return float(sum(s.area for s in person.sightings))


def _eccentricity(sighting: Sighting, size: np.ndarray) -> float:
    """Distance of a face from the middle of its frame, in frame heights."""
    return float(np.linalg.norm(sighting.middle - size / 2) / size[1])
