"""Faces in pictures: found, boxed, and their 68 landmarks where iBUG has them."""

import cv2
import numpy as np
import pytest
from videos import texture

from reenact.faces.face import IBUG_68, box_iou
from reenact.faces.face_mesh import MESH_POINTS
from reenact.faces.landmarks import head_angles
from reenact.faces.mediapipe_faces import FaceFinder, far_confidence
from reenact.media.probe import probe, read_frames


@pytest.fixture(scope="module")
def finder():
    with FaceFinder() as faces:
        yield faces


@pytest.fixture(scope="module")
def astronaut(demo_media):
    return next(read_frames(probe(demo_media("astronaut.png")))).pixels()


def test_box_and_landmarks(finder, astronaut):
    (face,) = finder.find(astronaut)
    assert face.points.shape == (MESH_POINTS, 2) and 0.5 <= face.confidence <= 1
    left, top, right, bottom = face.box
    # Read off the picture by eye: ears at x 174 and 272, hairline at y 62, chin at y 178.
    np.testing.assert_allclose([left, top, right, bottom], [174, 62, 272, 178], atol=10)
    marks = face.landmarks
    assert marks.shape == (68, 2) and len(set(IBUG_68)) == 68
    eyes, mouth, chin = marks[36:48].mean(axis=0), marks[48:68].mean(axis=0), marks[8]
    assert eyes[1] < marks[30, 1] < mouth[1] < chin[1]
    assert marks[0, 0] < marks[36, 0] < marks[39, 0] < marks[42, 0] < marks[45, 0] < marks[16, 0]
    # The jaw is spaced evenly: no step is more than three times another.
    steps = np.linalg.norm(np.diff(marks[:17], axis=0), axis=1)
    assert steps.max() < 3 * steps.min()


def test_follows_scale_and_shift(finder, astronaut):
    (face,) = finder.find(astronaut)
    (large,) = finder.find(cv2.resize(astronaut, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC))
    assert box_iou(face.moved(1.5).box, large.box) > 0.93
    (shifted,) = finder.find(np.roll(astronaut, (30, 40), axis=(0, 1)))
    assert box_iou(face.moved(1, 40, 30).box, shifted.box) > 0.93


def test_small_faces_of_a_group(finder, demo_media):
    image = next(read_frames(probe(demo_media("multi_face.jpg")))).pixels(640)
    with FaceFinder(max_faces=8) as many:
        faces = many.find(image)
    assert len(faces) == 5
    heights = [face.box[3] - face.box[1] for face in faces]
    assert all(60 < height < 110 for height in heights)


def test_no_face(finder):
    assert finder.find(texture(240, 320)) == []
    assert finder.find(np.zeros((64, 64, 3), np.uint8)) == []


def test_mirrored_picture_mirrors_the_angles(finder, astronaut):
    (face,), (mirrored,) = finder.find(astronaut), finder.find(np.ascontiguousarray(astronaut[:, ::-1]))
    np.testing.assert_allclose(head_angles(mirrored.landmarks), head_angles(face.landmarks) * [-1, 1, -1], atol=3)


def test_the_far_detector_has_to_be_surer():
    assert far_confidence(0.5) == pytest.approx(0.6)
    assert [far_confidence(end) for end in (0, 1)] == [0, 1]
