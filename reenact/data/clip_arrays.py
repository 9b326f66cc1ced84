"""What is known of frames of many clips, in one file: a run asks for it once, and keeps it in its folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from reenact.runtime.files import atomic_write

Known = TypeVar("Known")


def store_clip_arrays(path: Path, clips: Sequence[Any]) -> None:
    """Write dataclasses of arrays, one a clip, whose arrays have a row a frame; `rows` is one of them."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        arrays = {name: np.concatenate([vars(clip)[name] for clip in clips]) for name in vars(clips[0])}
        np.savez(file, counts=np.array([len(clip.rows) for clip in clips]), allow_pickle=False, **arrays)


def load_clip_arrays(path: Path, kind: Callable[..., Known]) -> list[Known]:
    """Read what `store_clip_arrays` wrote, as dataclasses of that kind, in the order of the clips."""
    with np.load(path) as stored:
        ends = np.cumsum(stored["counts"])[:-1]
        parts = {name: np.split(stored[name], ends) for name in stored.files if name != "counts"}
    count = len(ends) + 1
    return [kind(**{name: arrays[clip] for name, arrays in parts.items()}) for clip in range(count)]
