"""What the frames and the container of one rendering say: a watermark, a label where one is wanted, plain words."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from reenact.provenance.watermark import PUBLIC_KEY, Marker, Watermark
from reenact.runtime.errors import UserError
from reenact.settings.mark import MarkSettings

Mark = Callable[[np.ndarray, float], np.ndarray]
"""Marks a frame (uint8 H x W x 3, or H x W x 4 of uint8 or uint16) of a time (s): a copy."""


@dataclass(frozen=True)
class Stamp:
    """What a rendering says in its frames and in its container.

    Attributes:
        watermark: its pattern.
        number: of the rendering, 32 bits; the watermark's payload, and in the credentials.
        version: of this tool.
        label: text that is seen in a corner; empty = none.
    """

    watermark: Watermark
    number: int
    version: str
    label: str = ""

    @property
    def name(self) -> str:
        """The number as it is written: 8 hex digits."""
        return f"{self.number:08x}"

    def marker(self, width: int, height: int) -> Mark:
        """What marks the frames of a video of this size (px)."""
        mark = Marker(self.watermark, self.number, width, height)
        if not self.label:
            return mark
        text = _text(self.label, width, height)
        return lambda image, time: mark(_labelled(image, text), time)

    def tags(self) -> dict[str, str]:
        """Metadata of the container."""
        return {
            "title": "Synthetic video",
            "comment": f"This video is synthetic: made by a neural network that was trained on pictures of a person. "
            f"Rendering {self.name}, reenact {self.version}.",
            "encoding_tool": f"reenact {self.version}",
            "software": f"reenact {self.version}",
        }


def stamp_of(settings: MarkSettings, number: int, version: str) -> Stamp | None:
    """The stamp that the settings ask for; None where `mark.enabled` is false.

    Raises:
        UserError: the file of the watermark's key cannot be read.
    """
    if not settings.enabled:
        return None
    return Stamp(Watermark(watermark_key(settings)), number, version, settings.label)


def watermark_key(settings: MarkSettings) -> str:
    """The key of the setting `mark.watermark_key`.

    Raises:
        UserError: its file cannot be read, or holds less than 16 characters.
    """
    if not settings.watermark_key:
        return PUBLIC_KEY
    try:
        with open(settings.watermark_key, encoding="utf-8") as file:
            key = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"mark.watermark_key: {settings.watermark_key} cannot be read ({error})") from None
    if len(key) < 16:
        raise UserError(f"mark.watermark_key: {settings.watermark_key} holds {len(key)} characters; give at least 16")
    return key


def _text(label: str, width: int, height: int) -> np.ndarray:
    """Where a label is: float32 H x W x 1, 1 on letters, -1 on the edge around them, 0 elsewhere."""
    scale = min(width, height) / 512
    found = np.zeros((height, width), np.float32)
    (long, _), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, 0.92 * width / max(long, 1))
    place = round(0.04 * width), height - round(0.04 * height) - below
    thick = max(1, round(2 * scale))
    cv2.putText(found, label, place, cv2.FONT_HERSHEY_SIMPLEX, scale, -1.0, thick + 2, cv2.LINE_AA)
    cv2.putText(found, label, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 1.0, thick, cv2.LINE_AA)
    return found[..., None]


def _labelled(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    full = np.iinfo(image.dtype).max
    cover = np.abs(text)
    shown = np.repeat((text > 0).astype(np.float32) * full, image.shape[2], axis=2)
    if image.shape[2] == 4:
        shown[..., 3] = full
    return np.rint((1 - cover) * image + cover * shown).astype(image.dtype)
