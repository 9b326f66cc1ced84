"""Measures of faces by their landmarks, and of boxes."""

import numpy as np
import pytest

from reenact.faces.face import box_area, box_iou
from reenact.faces.landmarks import _FRONTAL_HEAD, _RIGID, head_angles


def test_overlap_of_boxes():
    a = np.array([0, 0, 2, 2.0])
    assert box_area(a) == 4
    assert box_iou(a, a) == 1 and box_iou(a, a + 2) == 0
    assert box_iou(a, a + np.array([1, 0, 1, 0])) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (-50, 10, 0), (20, -25, 40), (0, 30, -160)])
def test_head_angles_of_a_turned_head(yaw, pitch, roll):
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    marks = np.zeros((68, 2))
    marks[list(_RIGID)] = 100 + 50 * (_FRONTAL_HEAD @ (about_z @ about_y @ about_x).T)[:, :2]
    np.testing.assert_allclose(head_angles(marks), [yaw, pitch, roll], atol=0.1)
    if yaw and not roll:  # to the picture's right: there the nose is, seen from the middle of the eyes
        assert np.sign(marks[30, 0] - marks[[36, 45], 0].mean()) == np.sign(yaw)
