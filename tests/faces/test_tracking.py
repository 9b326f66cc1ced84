"""Finding faces over time: sightings are linked to people, and cuts of the scene are seen."""

import numpy as np

from reenact.faces.tracking import Sighting, face_sharpness, find_cuts, link, same_view, scene_change


def sighting(row: int, x: float, thumbnail: np.ndarray) -> Sighting:
    return Sighting(
        row,
        np.array([x, 0, x + 100, 130.0]),
        0.9,
        (thumbnail / np.linalg.norm(thumbnail)).astype(np.float16),
        np.zeros((68, 2)),
    )


def test_linking_prefers_likeness_and_joins_after_a_pause():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 576))
    times = np.arange(60) * 0.04
    faces: list[list[Sighting] | None] = [[sighting(r, r, a), sighting(r, 60 - r, b)] for r in range(60)]
    faces[20:40] = [[] for _ in range(20)]  # both away for 0.8 s
    people = link(faces, times, [])
    assert [len(person.sightings) for person in people] == [40, 40]
    for person in people:
        shift = {s.box[0] - s.row for s in person.sightings}, {s.box[0] + s.row for s in person.sightings}
        assert min(len(shift[0]), len(shift[1])) == 1


def test_cuts_are_single_large_changes():
    changes = np.full(50, 2.0)
    changes[20] = 40
    assert find_cuts(changes) == [20]
    assert find_cuts(np.full(50, 30.0)) == []  # the whole picture moves all the time


def test_a_head_that_moves_is_no_cut():
    rng = np.random.default_rng(0)
    before = rng.integers(60, 200, (16, 16)).astype(np.uint8)
    after = before.copy()
    after[:, :8] = rng.integers(60, 200, (16, 8))
    assert same_view(before, after) and find_cuts(np.array([0.0, 1, 1, scene_change(before, after), 1])) == []
    other = rng.integers(60, 200, (16, 16)).astype(np.uint8)
    assert not same_view(before, other) and find_cuts(np.array([0.0, 1, 1, scene_change(before, other), 1])) == [3]
    # Black bars are not a view.
    before[:, 2:14], other[:, 2:14] = 0, 0
    assert not same_view(before, other)


def test_somebody_returns_from_behind_a_hand():
    rng = np.random.default_rng(0)
    face, noise = rng.normal(size=(2, 576))
    changed = 0.8 * face + 0.6 * noise  # another expression: likeness about 0.8
    times = np.arange(60) * 0.04
    faces: list[list[Sighting] | None] = [[sighting(r, 0, face if r < 20 else changed)] for r in range(60)]
    faces[20:50] = [[] for _ in range(30)]
    same = np.full((60, 16, 16), 90, np.uint8)
    assert [len(person.sightings) for person in link(faces, times, [], same)] == [30]
    assert len(link(faces, times, [])) == 2  # without a view nobody can tell
    moved = same.copy()
    moved[45:] = 150
    assert len(link(faces, times, [], moved)) == 2
    faces[30] = [sighting(30, 400, noise), sighting(30, 600, -noise)]  # others walk in meanwhile
    assert len(link(faces, times, [], same)) > 2


def test_sharpness_does_not_depend_on_size_or_contrast():
    face = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    soft = np.repeat(np.repeat(face[::4, ::4], 4, axis=0), 4, axis=1)
    box = np.array([0, 0, 96, 96.0])
    assert face_sharpness(face, box) > 5 * face_sharpness(soft, box)
    assert abs(face_sharpness(face // 4 + 90, box) / face_sharpness(face, box) - 1) < 0.1
    larger = np.repeat(np.repeat(soft, 3, axis=0), 3, axis=1)
    assert abs(face_sharpness(larger, 3 * box) / face_sharpness(soft, box) - 1) < 0.05
    assert face_sharpness(face, np.array([200, 0, 220, 20.0])) == 0
