"""A photo as a surface in space: where each of its points lies on the person, and what moves it.

Made once for a reference. The face's points lie on the mesh. What surrounds it (hair, ears, neck) is carried on behind
the face's outline and turns with the head; shoulders and background stay where they are.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from reenact.models.warping.face_model import Heads
from reenact.models.warping.mesh import CHIN, EYES, FOREHEAD, INNER_LIPS, MeanFace

MARGIN = 0.12
"""The surface goes on beyond the picture's edge by this, as a fraction of its side."""

SLOPE = 1.8
"""How steeply the head falls off behind the face's outline, down to its middle: an outline is seen there."""

MIDDLE = 0.15
"""How far the middle of the head lies behind the deepest points of the mean mesh, in face heights."""

REACH = 0.35
"""How far an expression moves what lies around the face, in face heights: chin and neck."""


VISIBLE = 0.03
"""Matte from which on a point of a photo is carried along."""


@dataclass(frozen=True)
class Surface:
    """The N points of a reference where the person is, fractions of the side.

    Attributes:
        points: N x 3, in the reference.
        canonical: N x 3, the same without the head's rotation, size and place.
        corners: N x 3, vertices of the mesh that move a point.
        weights: N x 3, of those.
        rigid: N, how far a point goes along with the head, 0 to 1.
        elastic: N, how far with the expression.
        behind: N, added to its depth where points hide each other: eyeballs and what lies inside the mouth.
    """

    points: np.ndarray
    canonical: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    rigid: np.ndarray
    elastic: np.ndarray
    behind: np.ndarray


def build_surface(mesh: np.ndarray, heads: Heads, matte: np.ndarray, face: MeanFace, side: int) -> Surface:
    """The surface of one reference.

    Args:
        mesh: M x 3, of its face.
        heads: where its head is (one).
        matte: H x H in [0, 1].
        face: the mean face.
        side: points along the picture's side; without a matte the surface would have (1 + 2 MARGIN)^2 side^2.
    """
    count = round(side * (1 + 2 * MARGIN))
    steps = (np.arange(count) + 0.5) / count * (1 + 2 * MARGIN) - MARGIN
    x, y = np.meshgrid(steps, steps)
    grid = np.stack([x, y], -1)

    def pixels(points: np.ndarray) -> np.ndarray:
        """Fractions -> the surface's own grid, in sixteenths of its pixels, as OpenCV draws."""
        return np.rint(((points + MARGIN) / (1 + 2 * MARGIN) * count - 0.5) * 16).astype(np.int32)

    shape = face.triangles
    owner = np.full((count, count), -1, np.int32)
    corners_2d = pixels(mesh[:, :2])
    for number in np.argsort(-mesh[shape][:, :, 2].mean(1)):
        cv2.fillConvexPoly(owner, corners_2d[shape[number]], int(number), shift=4)
    sampled = (np.clip(grid, 0, 1) * len(matte) - 0.5).astype(np.float32)
    person = cv2.remap(
        matte.astype(np.float32), sampled[..., 0], sampled[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    person[y < 0] = 0  # shoulders go on beyond a photo, heads do not: hair at its upper edge would grow a horn
    here = np.flatnonzero(person > VISIBLE)
    flat = grid.reshape(-1, 2)
    nearest = _nearest(owner >= 0)[here]
    corners = shape[owner.ravel()[nearest]]
    anchor = flat[nearest]
    flat = flat[here]
    weights = _barycentric(anchor, mesh[corners][:, :, :2])
    on_face = np.einsum("nk,nkc->nc", weights, mesh[corners])
    height = np.linalg.norm(mesh[FOREHEAD] - mesh[CHIN])
    distance = np.linalg.norm(flat - anchor, axis=1)
    depth = np.minimum(on_face[:, 2] + SLOPE * distance, np.maximum(on_face[:, 2], _middle_depth(heads, face.points)))
    points = np.column_stack([flat, depth])
    canonical = heads.canonical(points[None])[0]
    behind, elastic = np.zeros(len(flat)), np.exp(-0.5 * (distance / (REACH * height)) ** 2)
    # Teeth go with the skull: a jaw that drops does not stretch them. Eyeballs go with their lids.
    for outline, offset, follows in ((INNER_LIPS, 0.12, 0), *((eye, 0.06, 1) for eye in EYES)):
        drawn = np.zeros((count, count), np.uint8)
        cv2.fillPoly(drawn, [corners_2d[list(outline)]], 1, shift=4)
        inside = drawn.ravel()[here] > 0
        behind[inside] = offset * height
        elastic[inside] *= follows
    return Surface(
        points=points,
        canonical=canonical,
        corners=corners,
        weights=weights,
        rigid=_rigid(canonical, face.points),
        elastic=elastic,
        behind=behind,
    )


def _middle_depth(heads: Heads, mean: np.ndarray) -> float:
    """How deep in the picture the middle of a head lies: a round head shows its outline there, however it is turned."""
    behind = mean[:, 2].max() + MIDDLE * (mean[CHIN, 1] - mean[FOREHEAD, 1])
    return float(heads.place[0, 2] + heads.scale[0] * behind * heads.rotation[0, 2, 2])


def _nearest(mask: np.ndarray) -> np.ndarray:
    """For every pixel the flat index of the nearest one in `mask`."""
    _, labels = cv2.distanceTransformWithLabels(
        np.where(mask, 0, 1).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(labels.max() + 1, np.int64)
    index[labels[mask]] = np.flatnonzero(mask.ravel())
    return index[labels.ravel()]


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Weights of triangles' corners: N x 2 and N x 3 x 2 -> N x 3, inside the triangle."""
    a, b, c = corners.transpose(1, 0, 2)
    u, v, w = b - a, c - a, points - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    second = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / area
    third = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / area
    weights = np.clip(np.stack([1 - second - third, second, third], 1), 0, 1)
    return weights / weights.sum(1, keepdims=True)


def _rigid(canonical: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """1 on head and hair, falling to 0 down the neck and far beside the head."""
    height, width = mean[CHIN, 1] - mean[FOREHEAD, 1], np.ptp(mean[:, 0])
    down = (canonical[:, 1] - mean[CHIN, 1] - 0.02 * height) / (0.7 * height)
    aside = (np.abs(canonical[:, 0]) - 0.75 * width) / (0.6 * width) * (canonical[:, 1] > 0)
    return (1 - _smooth(down)) * (1 - _smooth(aside))


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
