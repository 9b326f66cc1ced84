"""One file per clip and stage: an uncompressed ZIP of PNG images plus their table, `frames.csv`.

Few files for many frames, random access, one atomic rename; any ZIP tool can look inside
(the idea is that of StyleGAN's datasets).
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from reenact.data.png import decode_png, encode_png
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

TABLE = "frames.csv"
LANDMARKS = "landmarks.npy"


class ClipWriter:
    """Adds images to a clip that is being written; made by `write_clip`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, image: np.ndarray) -> None:
        """Store one uint8 image, H x W (grey) or H x W x 3 (RGB), lossless, under `name` (.png)."""
        self.add_encoded(name, encode_png(image))

    def add_encoded(self, name: str, data: bytes) -> None:
        """Store an image that `encode_png` has encoded already, e.g. in another thread."""
        # A ZipInfo of its own has a fixed date: the same clip gives the same bytes.
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, data)

    def add_landmarks(self, landmarks: np.ndarray) -> None:
        """Store the landmarks of all rows of the table: N x 68 x 2, fractions of the side, NaN where unknown."""
        data = io.BytesIO()
        np.save(data, landmarks.astype(np.float32), allow_pickle=False)
        self.add_encoded(LANDMARKS, data.getvalue())

    def finish(self, table: pd.DataFrame) -> None:
        """Store the frame table. Its column `image` names the stored image of each row ('' = none)."""
        self.add_encoded(TABLE, table.to_csv(index=False))


@contextmanager
def write_clip(path: Path) -> Iterator[ClipWriter]:
    """Write a clip file as a whole or not at all."""
    with atomic_write(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            yield ClipWriter(archive)


class Clip:
    """A clip file opened for reading.

    Attributes:
        path: the file.
        table: one row a frame; its columns are those of the stage that wrote the clip.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._archive = zipfile.ZipFile(self.path)
            self.table = _with_numbers(
                pd.read_csv(io.BytesIO(self._archive.read(TABLE)), keep_default_na=False, na_values=["nan"])
            )
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: not a readable clip file ({error}); delete it and run again") from error

    def __len__(self) -> int:
        return len(self.table)

    def image(self, name: str) -> np.ndarray:
        """Read one image by its name in the column `image`: uint8, H x W x 3 (RGB) or H x W (grey)."""
        pixels = decode_png(self._archive.read(name))
        if pixels is None:
            raise UserError(f"{self.path}: image {name} is damaged; delete the file and run again")
        return pixels

    def landmarks(self) -> np.ndarray:
        """Landmarks of all rows: float32 N x 68 x 2, fractions of the image's side; NaN where unknown."""
        if LANDMARKS not in self._archive.namelist():
            return np.full((len(self), 68, 2), np.nan, np.float32)
        return np.load(io.BytesIO(self._archive.read(LANDMARKS)), allow_pickle=False)

    def images(self, names: list[str]) -> np.ndarray:
        """Read several images of one size: uint8, N x H x W (x 3)."""
        return np.stack([self.image(name) for name in names])


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The same table, with NaN for the empty cells of columns that hold numbers, as those of dropped frames are."""
    for name in table.select_dtypes(exclude="number"):
        empty = table[name] == ""
        numbers = pd.to_numeric(table[name].where(~empty), errors="coerce")
        if numbers.notna().any() and numbers.notna().equals(~empty):
            table[name] = numbers
    return table
