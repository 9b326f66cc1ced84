"""Finding faces over time: sightings are linked to people, and cuts of the scene are seen."""

import numpy as np

from reenact.tracking import Sighting, find_cuts, link


def sighting(row: int, x: float, thumbnail: np.ndarray) -> Sighting:
    return Sighting(row, np.array([x, 0, x + 100, 130.0]), 0.9, (thumbnail / np.linalg.norm(thumbnail)).astype(np.float16), np.zeros((68, 2)))


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
