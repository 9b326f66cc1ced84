"""What each frame of an identity is used for."""

import numpy as np
import pandas as pd

from reenact.media.frame_table import identity_roles
from reenact.media.video import AFTER_DAMAGE
from reenact.settings.decode import DecodeSettings


def listed_frames(count, **columns):
    """A table as `identity_roles` wants it: sharp, distinct frames at 25 frames/s, but for the given columns."""
    plain = {"time": np.arange(count) / 25, "duration": 0.04, "sharpness": 100.0, "change": 9.0, "notes": ""}
    return pd.DataFrame({**plain, **columns}, index=range(count))


def test_few_frames_are_all_used():
    roles, reasons = identity_roles(listed_frames(5), 0.0, DecodeSettings(max_frames=5))
    assert list(roles) == ["train"] * 5 and list(reasons) == [""] * 5


def test_blurred_repeated_and_suspect_frames_are_set_aside():
    sharpness, change, notes = np.full(100, 100.0), np.full(100, 9.0), np.full(100, "", object)
    sharpness[20:24], change[50:55], notes[70:72] = 30.0, 0.2, AFTER_DAMAGE
    table = listed_frames(100, sharpness=sharpness, change=change, notes=notes)
    roles, reasons = identity_roles(table, 0.1, DecodeSettings())
    assert list(np.flatnonzero(roles == "unused")) == [20, 21, 22, 23, 50, 51, 52, 53, 54, 70, 71]
    assert (
        reasons[20] == "blurred (0.30 of the frames around)"
        and reasons[50] == "like the frame before"
        and reasons[70] == AFTER_DAMAGE
    )
    assert list(roles[90:]) == ["holdout"] * 10
    # Off is off, and a clip of which nothing else is left is used as it is.
    roles, _ = identity_roles(
        listed_frames(100, sharpness=sharpness, change=change), 0.0, DecodeSettings(min_sharpness=0, min_change=0)
    )
    assert set(roles) == {"train"}
    assert set(identity_roles(listed_frames(9, change=0.1), 0.0, DecodeSettings())[0]) == {"train"}
