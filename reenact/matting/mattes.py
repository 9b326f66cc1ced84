"""What is done to mattes after a network made them: contrast, other people, holes, padding, steadiness over time.

A matte is float32, S x S, 0 background to 1 person.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from reenact.faces.crop_pixels import outside_depths
from reenact.faces.square import Square

# Outside of the frame a matte falls to 0 over this share of the crop.
_FALL = 0.1
# Frames further apart than this many standard deviations of the smoothing do not see each other.
_REACH = 2.5
# Pixels that change by about this much (of 255) show something else, and are not smoothed over.
_SAME_COLOUR = 20.0
# Where landmarks are unknown: the face lies in this ellipse around the middle (shares of the side), as crops are made.
_FACE_WIDTH, _FACE_HEIGHT = 0.16, 0.2
# Of what covers the face, only what covers at least this share of it is the person (a neighbour's hair is not).
_COVERS = 0.2
# Holes up to this share of the crop are filled, and larger ones in the face.
_SMALL_HOLE = 0.004


@dataclass(frozen=True)
class MatteFrame:
    """One frame on its way through the smoothing.

    Attributes:
        row: in the frame table.
        time: s.
        scene: number of its scene; frames of two scenes do not see each other.
        matte: float32, S x S.
        small: the crop at 64 x 64 px, uint8 RGB.
        given: the matte came with the media: it is neither changed nor used for other frames.
    """

    row: int
    time: float
    scene: int
    matte: np.ndarray
    small: np.ndarray
    given: bool = False


def sharpen_matte(matte: np.ndarray, contrast: float) -> np.ndarray:
    """Raise the contrast of a matte about one half; 1 leaves it as it is."""
    if contrast == 1:
        return matte
    return cv2.min(cv2.max(cv2.addWeighted(matte, contrast, matte, 0, 0.5 - 0.5 * contrast), 0), 1)


def face_region(size: int, landmarks: np.ndarray | None = None) -> np.ndarray:
    """Where the face is in a crop: uint8, size x size, 1 inside the hull of the landmarks.

    Args:
        size: side of the crop, px.
        landmarks: 68 x 2, shares of the side; None, or NaN, takes the place where crops have their faces.
    """
    if landmarks is None or not np.isfinite(landmarks).all():
        return _usual_face(size)
    region = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(np.rint(landmarks * size).astype(np.int32))
    cv2.fillConvexPoly(region, hull, 1)
    return region if region.any() else _usual_face(size)


def keep_person(matte: np.ndarray, face: np.ndarray | None = None) -> np.ndarray:
    """Remove what is not connected to the face, and fill small holes; soft edges are kept.

    Args:
        matte: float32, S x S.
        face: uint8, S x S, 1 in the face, as `face_region` gives it; None = in the middle.

    Returns:
        A new matte. Without anything solid in the face it is `matte` itself.
    """
    face = _usual_face(matte.shape[0]) if face is None else face
    solid = cv2.compare(matte, 0.5, cv2.CMP_GT)
    if not cv2.countNonZero(cv2.bitwise_and(solid, face)):
        return matte
    # Outlines and what they enclose, a tenth of the time of labelling every pixel.
    outlines, tree = cv2.findContours(solid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [number for number in range(len(outlines)) if tree[0][number][3] < 0]
    if len(outer) > 1:
        person = _most_of(face, solid, [outlines[number] for number in outer])
        if cv2.countNonZero(person) < cv2.countNonZero(solid):
            matte = _without_others(matte, person, solid)
            solid = person
    holes = [outlines[number] for number in range(len(outlines)) if tree[0][number][3] >= 0]
    return _fill_holes(matte, solid, face, holes) if holes else matte


def inside_frame(square: Square, width: int, height: int, size: int) -> np.ndarray | None:
    """1 where a crop shows its frame, falling to 0 in the padding around: a mirrored head is nobody's.

    The fall is soft, over a tenth of the crop, so that a head that touches the border is not cut by a hard line.

    Args:
        square: of the crop.
        width, height: of the frame, px.
        size: side of the crop, px.

    Returns:
        float32, size x size; None if all of the crop lies inside.
    """
    depths = outside_depths(square, size, width, height)
    if depths is None:
        return None
    return np.minimum(*(np.maximum(1 - depth * np.float32(1 / (_FALL * square.side)), 0) for depth in depths))


# ---- over time ----------------------------------------------------------------------------------------------


def neighbourhoods(moments: Iterable[MatteFrame], sigma: float) -> Iterator[tuple[MatteFrame, list[MatteFrame]]]:
    """Each moment with those that its smoothing sees, itself left out; at most as many as that are held in memory.

    Args:
        moments: in order of time.
        sigma: standard deviation of the smoothing, s; 0 sees nothing.
    """
    reach = _REACH * sigma
    window: deque[MatteFrame] = deque()
    waiting: deque[MatteFrame] = deque()
    for moment in moments:
        if sigma <= 0:
            yield moment, []
            continue
        while waiting and moment.time - waiting[0].time > reach:
            yield waiting[0], _near(waiting.popleft(), window, reach)
            # What no waiting frame can see any more is let go.
            oldest = waiting[0].time if waiting else moment.time
            while window and window[0].time < oldest - reach:
                window.popleft()
        window.append(moment)
        waiting.append(moment)
    while waiting:
        yield waiting[0], _near(waiting.popleft(), window, reach)


def smoothed(moment: MatteFrame, near: Sequence[MatteFrame], sigma: float) -> np.ndarray:
    """The mean matte of a moment and those near it, weighted by nearness in time, where the picture did not change.

    Args:
        moment: whose matte is wanted.
        near: from `neighbourhoods`.
        sigma: standard deviation of the weights, s.
    """
    if not near:
        return moment.matte
    size = moment.matte.shape[::-1]
    total, weights = moment.matte.copy(), np.ones_like(moment.matte)
    for other in near:
        red, green, blue = cv2.split(cv2.absdiff(moment.small, other.small))
        change = cv2.max(cv2.max(red, green), blue).astype(np.float32)
        change = cv2.GaussianBlur(change, (0, 0), 1.0) / _SAME_COLOUR
        weight = cv2.exp(-0.5 * ((other.time - moment.time) / sigma) ** 2 - change * change)
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR)
        cv2.accumulateProduct(weight, other.matte, total)
        cv2.accumulate(weight, weights)
    return cv2.divide(total, weights)


def _near(moment: MatteFrame, window: Iterable[MatteFrame], reach: float) -> list[MatteFrame]:
    return [
        other
        for other in window
        if not (moment.given or other.given)
        and other.row != moment.row
        and other.scene == moment.scene
        and abs(other.time - moment.time) <= reach
    ]


# ---- one matte ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _usual_face(size: int) -> np.ndarray:
    region = np.zeros((size, size), np.uint8)
    axes = max(1, round(_FACE_WIDTH * size)), max(1, round(_FACE_HEIGHT * size))
    cv2.ellipse(region, (size // 2, size // 2), axes, 0, 0, 360, 1, -1)
    region.setflags(write=False)
    return region


def _without_others(matte: np.ndarray, person: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Give every pixel, soft edges too, to the nearest solid thing, and take away what is not the person's.

    Args:
        matte: float32, S x S.
        person, solid: uint8, S x S, 255 inside; `solid` includes the person.
    """
    strange = cv2.subtract(solid, person)
    # Distances are told at half of the size, in a quarter of the time; there, things of one pixel stay things.
    mine, others = (
        cv2.distanceTransform(cv2.compare(_halved(part), 0, cv2.CMP_EQ), cv2.DIST_L2, 3) for part in (person, strange)
    )
    nearer = cv2.resize(cv2.compare(mine, others, cv2.CMP_LE), matte.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.copyTo(matte, cv2.subtract(nearer, strange))


def _halved(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask, (mask.shape[1] + 1 >> 1, mask.shape[0] + 1 >> 1), interpolation=cv2.INTER_AREA)


def _most_of(face: np.ndarray, solid: np.ndarray, outlines: list[np.ndarray]) -> np.ndarray:
    """Of the solid things (uint8, S x S, 255 inside; their outer outlines), those that cover most of the face: likewise."""
    # Larger ones first: what lies in the hole of another is drawn over it.
    outlines = sorted(outlines, key=cv2.contourArea, reverse=True)
    left, top, width, height = cv2.boundingRect(face)
    covering = np.zeros(len(outlines) + 1, int)
    near = [
        number
        for number, outline in enumerate(outlines, 1)
        if _meets(cv2.boundingRect(outline), (left, top, width, height))
    ]
    if len(near) > 1:
        labels = np.zeros((height, width), np.uint16)
        part = slice(top, top + height), slice(left, left + width)
        for number in near:
            cv2.drawContours(labels, outlines, number - 1, number, cv2.FILLED, offset=(-left, -top))
        labels[(solid[part] == 0) | (face[part] == 0)] = 0
        covering = np.bincount(labels.ravel(), minlength=len(outlines) + 1)
        covering[0] = 0
    else:
        covering[near] = 1
    person = np.zeros_like(solid)
    for number, covers in enumerate(covering[1:] >= _COVERS * covering.max()):
        cv2.drawContours(person, outlines, number, 255 if covers else 0, cv2.FILLED)
    return cv2.bitwise_and(person, solid)


def _meets(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two boxes (left, top, width, height) share a pixel."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _fill_holes(matte: np.ndarray, person: np.ndarray, face: np.ndarray, outlines: list[np.ndarray]) -> np.ndarray:
    """Fill holes (their outlines, which run over what is around them) of the person that are small or lie in the face.

    Args:
        matte: float32, S x S.
        person: uint8, S x S, 255 inside; holes of other things are left alone.
        face: uint8, S x S, 1 inside.
    """
    filled = matte.copy()
    for outline in outlines:
        column, row = outline[0, 0]
        if not person[row, column]:
            continue
        left, top, width, height = cv2.boundingRect(outline)
        part = slice(top, top + height), slice(left, left + width)
        hole = cv2.drawContours(
            np.zeros((height, width), np.uint8), [outline], 0, 255, cv2.FILLED, offset=(-left, -top)
        )
        hole = cv2.bitwise_and(hole, cv2.bitwise_not(person[part]))
        about = cv2.moments(hole, binaryImage=True)
        area = about["m00"]
        if area and (
            area < _SMALL_HOLE * face.size or face[top + int(about["m01"] / area), left + int(about["m10"] / area)]
        ):
            filled[part][hole > 0] = 1
    return filled
