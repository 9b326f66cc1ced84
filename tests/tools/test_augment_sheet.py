"""The picture of augmented samples."""

import cv2
import numpy as np
import pytest
from people import write_person

from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaSettings
from reenact.tools.augment_sheet import COLUMNS, draw_augment_sheet


def sheet(folder, clips, **augment):
    crops, mattes = zip(*clips, strict=True) if clips else ((), ())
    draw_augment_sheet(
        crops=crops,
        mattes=mattes,
        shards=(),
        sheet=folder / "sheet.png",
        samples=3,
        size=64,
        settings=MetaSettings(augment=augment),
    )
    return cv2.imread(str(folder / "sheet.png"))


def test_a_row_for_each_sample(tmp_path):
    picture = sheet(tmp_path, [write_person(tmp_path, name, 6) for name in ("red", "green")])
    rows = picture[-3 * 64 :].reshape(3, 64, len(COLUMNS), 64, 3).swapaxes(1, 2)
    assert picture.shape[1] == 64 * len(COLUMNS)
    identity, frame, pose, joint = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3]
    assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in ((frame, pose), (frame, joint), (identity, frame)))


def test_without_augmentation_all_are_the_frame(tmp_path):
    picture = sheet(tmp_path, [write_person(tmp_path, "red", 6)], pose=0.0, joint=0.0)
    rows = picture[-3 * 64 :].reshape(3, 64, len(COLUMNS), 64, 3).swapaxes(1, 2)
    assert (
        np.array_equal(rows[:, 1], rows[:, 2])
        and np.array_equal(rows[:, 1], rows[:, 5])
        and np.array_equal(rows[:, 4], rows[:, 6])
    )


def test_something_must_be_given(tmp_path):
    with pytest.raises(UserError, match="--crops and --shard-files: give the one or the other"):
        sheet(tmp_path, [])
