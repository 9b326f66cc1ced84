"""What is done to one matte."""

import numpy as np

from reenact.faces.square import Square
from reenact.matting.mattes import face_region, inside_frame, keep_person, sharpen_matte


def test_other_people_are_removed_and_small_holes_filled():
    matte = np.zeros((128, 128), np.float32)
    matte[30:128, 40:90] = 1
    matte[30:128, 38:40] = 0.4  # a soft edge
    matte[60:66, 60:66] = 0.1  # a hole in the face
    matte[40:128, 110:128] = 1  # somebody else
    matte[40:128, 108:110] = 0.3
    result = keep_person(matte)
    assert result[60:66, 60:66].min() == 1
    assert result[:, 105:].max() == 0
    np.testing.assert_allclose(result[30:128, 38:40], 0.4)
    np.testing.assert_array_equal(keep_person(np.zeros((64, 64), np.float32)), 0)


def test_the_person_is_where_the_landmarks_are():
    matte = np.zeros((128, 128), np.float32)
    matte[50:90, 20:50] = matte[50:90, 70:100] = 1
    angles = np.linspace(0, 2 * np.pi, 68)
    landmarks = np.column_stack([0.66 + 0.1 * np.cos(angles), 0.55 + 0.1 * np.sin(angles)])
    result = keep_person(matte, face_region(128, landmarks))
    assert result[50:90, 70:100].min() == 1 and result[:, :60].max() == 0
    np.testing.assert_array_equal(face_region(128, np.full((68, 2), np.nan)), face_region(128))
    np.testing.assert_array_equal(face_region(128, landmarks + 5), face_region(128))


def test_sharpen_keeps_one_half():
    values = np.array([[0, 0.25, 0.4, 0.5, 0.6, 1]], np.float32)
    np.testing.assert_allclose(sharpen_matte(values, 2.0), [[0, 0, 0.3, 0.5, 0.7, 1]], atol=1e-6)
    np.testing.assert_array_equal(sharpen_matte(values, 1.0), values)


def test_inside_frame():
    assert inside_frame(Square.from_corner(10, 10, 50), 100, 100, 20) is None
    part = inside_frame(Square.from_corner(-50, 0, 100), 100, 100, 100)
    assert part[:, :39].max() == 0 and part[:, 50:].min() == 1 and 0.3 < part[50, 45] < 0.7
    turned = inside_frame(Square.from_corner(-50, 0, 100, 90), 100, 100, 100)
    assert (turned.max(axis=0) == 1).all() and (turned.max(axis=1) == 0).any(), (
        "a turned square has its padding elsewhere"
    )
