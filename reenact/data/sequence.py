"""Stretches of a clip's frames: which are shown to an avatar, and reading them one by one."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import pandas as pd

from reenact.data.clip import Clip

Item = TypeVar("Item")

RUN_LENGTH = 8
"""Frames of a run where not every frame is used: long enough for accelerations, short enough to spread."""


def frames_of(clip: Clip, role: str) -> pd.DataFrame:
    """The rows of a clip that have an image and this role, in order of time; column `image` is text."""
    table = clip.table
    return table[(table["role"] == role) & (table["image"].astype(str) != "")].reset_index(drop=True)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of 0 .. count - 1, evenly spread and including both ends."""
    if count <= most:
        return list(range(count))
    return [int(i) for i in np.rint(np.linspace(0, count - 1, most))]


def runs(indices: list[int], most: int) -> pd.DataFrame:
    """Choose runs of consecutive frames.

    All rows when there are at most `most`; otherwise `most // RUN_LENGTH` runs of RUN_LENGTH rows, evenly spread over
    the rows and including both ends. A gap in the frame numbers ends a run: accelerations across it mean nothing.

    Args:
        indices: increasing frame numbers.
        most: most rows, at least RUN_LENGTH.

    Returns:
        Columns `row` (position in `indices`) and `run` (0, 1, ...).
    """
    if len(indices) <= most:
        chosen = [(row, 0) for row in range(len(indices))]
    else:
        starts = spread(len(indices) - RUN_LENGTH + 1, most // RUN_LENGTH)
        chosen = [(start + step, number) for number, start in enumerate(starts) for step in range(RUN_LENGTH)]
    found, run, last = [], -1, None
    for row, window in chosen:
        if last is None or window != last[1] or indices[row] != indices[last[0]] + 1:
            run += 1
        found.append((row, run))
        last = (row, window)
    return pd.DataFrame(found, columns=["row", "run"]).astype(int)


SELECT, CHECK = "select", "check"
"""Parts of a stretch: frames on which an iteration is chosen, and frames on which the choice is checked."""


def parts(count: int) -> list[str]:
    """The part that each of `count` frames in order of time belongs to.

    Stretches of about two runs in turn, at least four of them and as many of each part: short, so that both parts see
    every pose, and long enough that few neighbours of one part are in the other. Fewer than 16 frames are all for
    selection: there is nothing to check on.
    """
    if count < 2 * RUN_LENGTH:
        return [SELECT] * count
    stretches = 2 * max(2, round(count / (4 * RUN_LENGTH)))
    return [(SELECT, CHECK)[stretches * i // count % 2] for i in range(count)]


def shown_frames(clip: Clip, role: str, most: int, part: str | None = None) -> pd.DataFrame:
    """The frames of a clip that avatars are shown: those with this role, all of them or short runs (`runs`).

    Args:
        clip: crops.
        role: holdout or drive.
        most: most frames.
        part: SELECT or CHECK; None = both.

    Returns:
        Rows of the clip's table with the columns `run` and `part`.
    """
    table = frames_of(clip, role)
    table = table.assign(part=parts(len(table)))
    table = table if part is None else table[table["part"] == part].reset_index(drop=True)
    chosen = runs(table["index"].tolist(), most)
    return table.iloc[chosen["row"]].assign(run=chosen["run"].to_numpy()).reset_index(drop=True)


def images(clip: Clip, names: list[str]) -> Iterator[np.ndarray]:
    """The images of `names` one by one: uint8 H x W (x 3). Memory does not grow with their number."""
    for name in names:
        yield clip.image(name)
