"""What media and their frames are, whatever they are read from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np


@dataclass(frozen=True)
class Media:
    """What is known about media before its frames are read.

    Attributes:
        path: the file or folder.
        kind: "video", "photos" (one image or a folder of images), or "cropped" (a folder of the published layout, whose
            images are crops already).
        width, height: of the first frame as it is shown (upright, square pixels), px.
        fps: average frame rate, 1/s; None for photos and crops.
        duration: of the video as its header states it, s; None if unknown, 0 for photos and crops.
        audio: whether there is sound.
        files: the images in natural order of their names; empty for a video.
        masks: of "cropped" media, for each file its mask, or None where there is none.
        steps: what reading does to the pictures, in words.
        time_base: unit in which a video states its times, s.
        aspect: width / height of a stored pixel of a video.
    """

    path: Path
    kind: Literal["video", "photos", "cropped"]
    width: int
    height: int
    fps: float | None = None
    duration: float | None = 0.0
    audio: bool = False
    files: tuple[Path, ...] = ()
    masks: tuple[Path | None, ...] = ()
    steps: tuple[str, ...] = ()
    time_base: Fraction = Fraction(1)
    aspect: float = 1.0


class Picture(Protocol):
    """Pixels that are made when asked for."""

    @property
    def steps(self) -> Sequence[str]:
        """What is done to make them, in words."""

    @property
    def nbytes(self) -> int:
        """Memory that it holds until then."""

    def rgb(self, width: int, height: int) -> np.ndarray:
        """uint8 RGB, height x width x 3, upright."""

    def luma(self, width: int, height: int) -> np.ndarray:
        """uint8 brightness, height x width, upright; of a video as it is stored (black may be 16)."""


@dataclass(frozen=True)
class Frame:
    """One frame of the media, not yet converted to pixels.

    Attributes:
        index: number of the frame in presentation order, from 0; of a photo its number among the sorted files.
        time: presentation time as the file states it (it need not start at 0), s; 0 for photos.
        duration: how long the file says it is shown, s; None if it does not, 0 for photos.
        width, height: as shown (upright, square pixels), px.
        notes: what is particular about this one frame, in words (de-interlaced, after damage).
    """

    index: int
    time: float
    duration: float | None
    width: int
    height: int
    picture: Picture = field(repr=False)
    notes: tuple[str, ...] = ()
    _matte: Callable[[], np.ndarray | None] | None = field(default=None, repr=False)

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """The frame as uint8 RGB, H x W x 3; scaled down so that its longer side is at most `longest` px."""
        scale = 1.0 if longest is None else min(1.0, longest / max(self.width, self.height))
        return self.picture.rgb(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def grey(self, height: int) -> np.ndarray:
        """The brightness as uint8, H x W, at most `height` px high; much cheaper than `pixels`."""
        scale = min(1.0, height / self.height)
        return self.picture.luma(max(1, round(self.width * scale)), max(1, round(self.height * scale)))

    def matte(self) -> np.ndarray | None:
        """The mask that came with a crop of the published layout: uint8, H x W like `pixels()`; None if there is none.

        Raises:
            UserError: the mask cannot be read.
        """
        return None if self._matte is None else self._matte()
