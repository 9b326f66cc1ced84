"""What is done to a matte after a network made it: contrast, other people, holes, padding.

A matte is float32, S x S, 0 background to 1 person.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from reenact.faces.crop_pixels import outside_depths
from reenact.faces.square import Square

# Outside of the frame a matte fades to 0 over this fraction of the crop.
_FADE = 0.1
# Where landmarks are unknown: the face lies in this ellipse around the middle (fractions of the side), as crops are
# made.
_FACE_WIDTH, _FACE_HEIGHT = 0.16, 0.2
# Whatever covers at least this fraction of what the largest part covers of the face is the person, too: a neighbour's
# hair does not.
_COVERS = 0.2
# Holes up to this fraction of the crop are filled, and larger ones in the face.
_SMALL_HOLE = 0.004


def sharpen_matte(matte: np.ndarray, contrast: float) -> np.ndarray:
    """Raise the contrast of a matte about one half; 1 leaves it as it is."""
    if contrast == 1:
        return matte
    return cv2.min(cv2.max(cv2.addWeighted(matte, contrast, matte, 0, 0.5 - 0.5 * contrast), 0), 1)


def face_region(size: int, landmarks: np.ndarray | None = None) -> np.ndarray:
    """Where the face is in a crop: uint8, size x size, 1 inside the hull of the landmarks.

    Args:
        size: side of the crop, px.
        landmarks: 68 x 2, fractions of the side; None, or NaN, takes the place where crops have their faces.
    """
    if landmarks is None or not np.isfinite(landmarks).all():
        return _default_face(size)
    region = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(np.rint(landmarks * size).astype(np.int32))
    cv2.fillConvexPoly(region, hull, 1)
    return region if region.any() else _default_face(size)


def keep_person(matte: np.ndarray, face: np.ndarray | None = None) -> np.ndarray:
    """Remove what is not connected to the face, and fill small holes; soft edges are kept.

    Args:
        matte: float32, S x S.
        face: uint8, S x S, 1 in the face, as `face_region` gives it; None = in the middle.

    Returns:
        A new matte. Without anything solid in the face it is `matte` itself.
    """
    face = _default_face(matte.shape[0]) if face is None else face
    solid = cv2.compare(matte, 0.5, cv2.CMP_GT)
    if not cv2.countNonZero(cv2.bitwise_and(solid, face)):
        return matte
    # Outlines and what they enclose, a tenth of the time of labelling every pixel.
    outlines, tree = cv2.findContours(solid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [outline for outline, (*_, parent) in zip(outlines, tree[0], strict=True) if parent < 0]
    holes = [outline for outline, (*_, parent) in zip(outlines, tree[0], strict=True) if parent >= 0]
    if len(outer) > 1:
        person = _on_face(face, solid, outer)
        if cv2.countNonZero(person) < cv2.countNonZero(solid):
            matte = _without_others(matte, person, solid)
            solid = person
    return _fill_holes(matte, solid, face, holes) if holes else matte


def inside_frame(square: Square, width: int, height: int, size: int) -> np.ndarray | None:
    """1 where a crop shows its frame, fading to 0 in the padding around: a mirrored head is nobody's.

    It fades over a tenth of the crop, so that a head that touches the border is not cut by a hard line.

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
    return np.minimum(*(np.maximum(1 - depth * np.float32(1 / (_FADE * square.side)), 0) for depth in depths))


# ---- parts --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _default_face(size: int) -> np.ndarray:
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
    other_parts = cv2.subtract(solid, person)
    # Distances are measured at half of the size, in a quarter of the time; things of one pixel are kept there.
    nearer = cv2.compare(_distances(_halved(person)), _distances(_halved(other_parts)), cv2.CMP_LE)
    nearer = cv2.resize(nearer, matte.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.copyTo(matte, cv2.subtract(nearer, other_parts))


def _distances(mask: np.ndarray) -> np.ndarray:
    """Of every pixel to the nearest one inside of the mask (uint8), px."""
    return cv2.distanceTransform(cv2.compare(mask, 0, cv2.CMP_EQ), cv2.DIST_L2, 3)


def _halved(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask, (mask.shape[1] + 1 >> 1, mask.shape[0] + 1 >> 1), interpolation=cv2.INTER_AREA)


def _on_face(face: np.ndarray, solid: np.ndarray, outlines: list[np.ndarray]) -> np.ndarray:
    """The solid parts that cover the face: uint8, S x S, 255 inside.

    Args:
        face: uint8, S x S, 1 inside.
        solid: all parts, uint8, S x S, 255 inside.
        outlines: of the parts, at least one of which covers some of the face.
    """
    # Larger ones first: what lies in the hole of another is drawn over it.
    outlines = sorted(outlines, key=cv2.contourArea, reverse=True)
    left, top, width, height = cv2.boundingRect(face)
    covering = np.zeros(len(outlines) + 1, int)
    numbered = list(enumerate(outlines, 1))
    near = [number for number, outline in numbered if _meets(cv2.boundingRect(outline), (left, top, width, height))]
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
    """Fill holes of the person that are small or lie in the face.

    Args:
        matte: float32, S x S.
        person: uint8, S x S, 255 inside; holes of other things are left alone.
        face: uint8, S x S, 1 inside.
        outlines: of the holes; they run over what is around them.
    """
    filled = matte.copy()
    for outline in outlines:
        column, row = outline[0, 0]
        if not person[row, column]:
            continue
        left, top, width, height = cv2.boundingRect(outline)
        part = slice(top, top + height), slice(left, left + width)
        hole = np.zeros((height, width), np.uint8)
        cv2.drawContours(hole, [outline], 0, 255, cv2.FILLED, offset=(-left, -top))
        hole = cv2.bitwise_and(hole, cv2.bitwise_not(person[part]))
        moments = cv2.moments(hole, binaryImage=True)
        area = moments["m00"]
        if not area:
            continue
        x, y = left + int(moments["m10"] / area), top + int(moments["m01"] / area)
        if area < _SMALL_HOLE * face.size or face[y, x]:
            filled[part][hole > 0] = 1
    return filled
