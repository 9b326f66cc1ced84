"""Faces of a clip are linked to people."""

import sys

import numpy as np
from scipy.optimize import linear_sum_assignment

from reenact.faces import tracking
from reenact.faces.detection import Detection
from reenact.faces.tracking import track_people


def seen(row: int, x: float, thumbnail: np.ndarray) -> Detection:
    return Detection(
        row,
        np.array([x, 0, x + 100, 130.0]),
        0.9,
        (thumbnail / np.linalg.norm(thumbnail)).astype(np.float16),
        np.zeros((68, 2)),
    )


def looks(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 576))


TIMES = np.arange(60) * 0.04


def test_two_people_pass_each_other_and_come_back_after_a_pause():
    a, b = looks(2)
    faces: list[list[Detection] | None] = [[seen(r, 4 * r, a), seen(r, 400 - 4 * r, b)] for r in range(60)]
    faces[20:40] = [[] for _ in range(20)]  # both away for 0.8 s
    people = track_people(faces, TIMES, [])
    assert [len(person.detections) for person in people] == [40, 40]
    for person in people:
        shift = {d.box[0] - 4 * d.row for d in person.detections}, {d.box[0] + 4 * d.row for d in person.detections}
        assert min(len(shift[0]), len(shift[1])) == 1


def test_one_face_is_matched_as_many_are(monkeypatch):
    for overlap in (0.0, 0.7):
        expected = list(zip(*linear_sum_assignment([[-overlap]]), strict=True))
        monkeypatch.setitem(sys.modules, "scipy.optimize", None)  # not even imported
        assert tracking._matched(np.array([[overlap]])) == expected
        assert tracking._matched(np.zeros((0, 3))) == tracking._matched(np.zeros((0, 1))) == []
        monkeypatch.undo()


def test_place_links_within_a_scene_and_looks_link_scenes():
    a, b = looks(2)
    turned = 0.8 * a + 0.6 * b  # as another expression: less alike than SAME_PERSON
    faces: list[list[Detection] | None] = [[seen(r, 0, a if r % 20 < 10 else turned)] for r in range(60)]
    assert [len(person.detections) for person in track_people(faces, TIMES, [])] == [60]
    # Across a cut the place means nothing: b takes it, and a comes back elsewhere.
    faces[20:] = [[seen(r, 0, b), seen(r, 500, a)] for r in range(20, 60)]
    people = track_people(faces, TIMES, [20])
    assert [len(person.detections) for person in people] == [60, 40]
    assert {d.box[0] for d in people[1].detections} == {0}


def test_whoever_takes_the_place_after_a_pause_is_somebody_else():
    a, b = looks(2)
    faces: list[list[Detection] | None] = [[seen(r, 0, a if r < 30 else b)] for r in range(60)]
    faces[25:40] = [None] * 15  # not looked at for 0.6 s
    assert [len(person.detections) for person in track_people(faces, TIMES, [])] == [25, 20]
