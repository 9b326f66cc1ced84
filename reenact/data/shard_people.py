"""People whose frames lie in shards: read when a sample wants them, nothing else is in memory but the index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reenact.data.images import resize_area
from reenact.data.shard_file import Shard, index_of
from reenact.data.training_clips import TrainingClip
from reenact.runtime.errors import UserError

REMEMBERED = 1024
"""Clips whose landmarks stay in memory; 17 kB each with 32 frames."""


class Lazy:
    """An array whose rows are read when asked for: what of one `TrainingClip` needs.

    Args:
        length: rows.
        read: number of a row -> the row.
    """

    def __init__(self, length: int, read: Callable[[int], np.ndarray]) -> None:
        self._length, self._read = length, read

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> np.ndarray:
        """One row by its number, or some by a list of numbers, stacked."""
        if isinstance(index, int | np.integer):
            return self._read(int(index))
        return np.stack([self._read(int(number)) for number in index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[range(self._length)], dtype)


@dataclass(frozen=True)
class Shards:
    """The people of one split of a set in shards (TAR files of stage shard); see `ShardPeople`."""

    paths: Sequence[Path]
    split: Literal["train", "validation"]
    by: Literal["clip", "identity"]

    @property
    def files(self) -> list[Path]:
        """What changes with the content of any picture: an index holds the checksums of all in its shard."""
        return [index_of(path) for path in self.paths]

    def load(self, size: int) -> "ShardPeople":
        """Open them for images of `size` px."""
        return ShardPeople(self.paths, size, self.split, self.by)


class ShardPeople:
    """The people of one split of a set, in shards; see `reenact.data.training_clips.People`.

    They are ordered by name, however many shards there are. Objects may be pickled and used by several threads.

    Args:
        shards: TAR files of stage shard.
        size: side of the images wanted, px.
        split: train or validation.
        by: clip = each clip counts as a person of its own (published); identity = as the table says.

    Attributes:
        names: of the people, by label.

    Raises:
        UserError: a shard cannot be read, or sizes do not divide.
    """

    def __init__(
        self, shards: Sequence[Path], size: int, split: Literal["train", "validation"], by: Literal["clip", "identity"]
    ) -> None:
        self._shards = [Shard(path) for path in shards]
        self._size = size
        self._clip = lru_cache(REMEMBERED)(self._open_clip)
        found = [
            (shard.identities[clip] if by == "identity" else shard.clips[clip], shard.clips[clip], number, clip)
            for number, shard in enumerate(self._shards)
            for clip in range(len(shard))
            if shard.splits[clip] == split
        ]
        found.sort()
        for shard in self._shards:
            wrong = [side for side in shard.sides.tolist() if side % size]
            if wrong:
                raise UserError(
                    f"{shard.path}: crops of {wrong[0]} px do not divide into {size} px; "
                    f"set crop.size to a multiple of {size}"
                )
        self._clips = np.array([(number, clip) for *_, number, clip in found], np.int32)
        names = np.array([name for name, *_ in found], dtype=str)
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]][: len(names)])
        self.names: list[str] = names[starts].tolist()
        self._first = np.r_[starts, len(names)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, label: int) -> list[TrainingClip]:
        """The clips of one person, in order of their names."""
        if not 0 <= label < len(self):
            raise IndexError(label)
        rows = self._clips[self._first[label] : self._first[label + 1]]
        return [self._clip(int(number), int(clip)) for number, clip in rows]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_clip"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clip = lru_cache(REMEMBERED)(self._open_clip)

    def _open_clip(self, number: int, clip: int) -> TrainingClip:
        """A clip of a shard: pictures are read each time that they are asked for, landmarks once."""
        shard = self._shards[number]
        count = int(shard.first[clip + 1] - shard.first[clip])
        landmarks = cache(partial(shard.landmarks, clip))
        return TrainingClip(
            shard.clips[clip],
            Lazy(count, lambda row: resize_area(shard.frame(clip, row)[None], self._size)[0]),
            Lazy(count, lambda row: resize_area(shard.matte(clip, row)[None], self._size)[0]),
            Lazy(count, lambda row: landmarks()[row]),
            shard.identities[clip],
        )
