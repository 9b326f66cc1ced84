"""Which frames count in the metrics of an avatar."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from person_clips import swaying, write_person

from reenact.data.clip import Clip
from reenact.data.sequence import CHECK, SELECT, parts
from reenact.evaluation.measure import DrivingFrames, IdentityReference, MeasuredFrames


class FixedFace:
    """In place of a `Measurer`: finds the same face everywhere."""

    perceptual = None

    def sequence(self, pictures: np.ndarray, mattes: np.ndarray) -> MeasuredFrames:
        face = np.random.default_rng(0).uniform(80, 180, (68, 2))
        return MeasuredFrames(pictures, mattes, np.repeat(face[None], len(pictures), 0), np.ones((len(pictures), 4)))


@pytest.mark.parametrize(("count", "counted"), [(32, 16), (15, 15)])
def test_tables_are_of_the_frames_on_which_nothing_is_chosen(tmp_path: Path, count: int, counted: int) -> None:
    paths = write_person(tmp_path, swaying(2), ["train"] * 2)
    reference = IdentityReference(tuple(map(Clip, paths)), 64, FixedFace(), 2, {})
    truth = FixedFace().sequence(np.zeros((count, 64, 64, 3), np.uint8), np.full((count, 64, 64), 255, np.uint8))
    frames = pd.DataFrame({"index": range(count), "run": 0, "part": parts(count)})
    reference.driving["cross"] = DrivingFrames(frames, truth)
    # The avatar moves where an iteration is chosen, and stands still elsewhere, as its driver does.
    wrong = (frames["part"] == SELECT).to_numpy()
    landmarks = truth.landmarks + np.where(wrong, 10.0 * np.arange(count), 0.0)[:, None, None]
    descriptors = np.where(wrong[:, None], [[1.0, 0, 0, 0]], truth.descriptors)
    row, values = reference.compare(MeasuredFrames(truth.images, truth.mattes, landmarks, descriptors), "cross")
    assert row["frames"] == counted and len(values) == count
    counts = values["part"] == CHECK if counted < count else values["part"] == SELECT
    for name in ("identity_error", "motion_error"):
        assert row[name] == pytest.approx(values.loc[counts, name].mean())
    assert (row["identity_error"] < 1e-9) == (counted < count)
    assert values.loc[wrong, "identity_error"].min() > 0.4
