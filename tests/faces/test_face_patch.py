"""What is measured on the pixels of a face box."""

import numpy as np

from reenact.faces.face import Face
from reenact.faces.face_patch import FacePatch


def sharpness(grey: np.ndarray, box: np.ndarray) -> float:
    return FacePatch.cut(grey, box).sharpness


def test_sharpness_does_not_depend_on_size_or_contrast():
    face = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    soft = np.repeat(np.repeat(face[::4, ::4], 4, axis=0), 4, axis=1)
    box = np.array([0, 0, 96, 96.0])
    assert sharpness(face, box) > 5 * sharpness(soft, box)
    assert abs(sharpness(face // 4 + 90, box) / sharpness(face, box) - 1) < 0.1
    larger = np.repeat(np.repeat(soft, 3, axis=0), 3, axis=1)
    assert abs(sharpness(larger, 3 * box) / sharpness(soft, box) - 1) < 0.05
    assert sharpness(face, np.array([200, 0, 220, 20.0])) == 0


def test_thumbnails_do_not_depend_on_size_turn_or_light():
    import cv2

    rng = np.random.default_rng(0)
    grey = cv2.resize(rng.integers(0, 255, (12, 12)).astype(np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)
    marks = np.full((68, 2), 100.0)
    marks[36:42], marks[42:48], marks[48:] = (80, 90), (120, 90), (100, 130)

    def thumbnail(image: np.ndarray, points: np.ndarray) -> np.ndarray:
        face = Face(np.float32(points), 1.0, np.array([*(points.mean(axis=0) - 60), *(points.mean(axis=0) + 60)]))
        return FacePatch.cut(image, face.box).thumbnail(face).astype(float)

    plain = thumbnail(grey, marks)
    assert plain.shape == (576,) and abs(np.linalg.norm(plain) - 1) < 1e-3 and abs(plain.mean()) < 1e-3
    turn = cv2.getRotationMatrix2D((100, 100), 20, 0.9)
    turned = cv2.warpAffine(grey // 2 + 60, turn, (200, 200), borderMode=cv2.BORDER_REFLECT)
    assert plain @ thumbnail(turned, marks @ turn[:, :2].T + turn[:, 2]) > 0.97
    assert plain @ thumbnail(grey[:, ::-1].copy(), marks) < 0.8
