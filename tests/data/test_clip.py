"""Clip files: what was stored comes back, whole or not at all."""

import numpy as np
import pandas as pd
import pytest

from reenact.data.clip import Clip, write_clip
from reenact.runtime.errors import UserError


def write(path, table):
    with write_clip(path) as clip:
        clip.add("a.png", np.arange(75, dtype=np.uint8).reshape(5, 5, 3))
        clip.finish(pd.DataFrame(table))


def test_numbers_stay_numbers_where_some_rows_have_none(tmp_path):
    write(
        tmp_path / "c.zip",
        {"image": ["a.png", ""], "reason": ["", ""], "x": [1.5, np.nan], "unknown": [np.nan, np.nan]},
    )
    table = Clip(tmp_path / "c.zip").table
    assert table["image"].tolist() == ["a.png", ""] and table["reason"].tolist() == ["", ""]
    assert table["x"].dtype == float and table["x"].iloc[0] == 1.5 and np.isnan(table["x"].iloc[1])


def test_images_come_back_as_they_were(tmp_path):
    write(tmp_path / "c.zip", {"image": ["a.png"]})
    assert (Clip(tmp_path / "c.zip").image("a.png") == np.arange(75).reshape(5, 5, 3)).all()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "c.zip").write_bytes(b"PK no")
    with pytest.raises(UserError, match=r"c\.zip: not a readable clip file"):
        Clip(tmp_path / "c.zip")
