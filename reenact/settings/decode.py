"""Settings of stage `decode`, and how the ends of a stretch are written."""

import re
from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class DecodeSettings(Section):
    """Exact frame times of every clip, and which frames are used."""

    section: ClassVar[str] = "decode"

    max_frames: int = Field(
        default=256,
        ge=1,
        description="Most training frames of an identity, spread over its media; the sharpest of each neighbourhood.",
    )
    min_sharpness: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Frames of an identity's video that are less sharp than this share of the median of the 4 s around them are not trained on; 0 = all are.",
    )
    min_change: float = Field(
        default=0.75,
        ge=0.0,
        le=255.0,
        description="Frames of an identity that differ by less than this (of 255; an eighth of the frame, where it differs most) from the one before are not trained on; 0 = all are.",
    )


def read_time(value: str | float) -> tuple[float, bool] | None:
    """What an end of a stretch says: 12.5, "12.5", "1:30" or "1:02:03.5" (s), or "60%" (of the duration).

    Returns:
        The number, and whether it is a percentage; None if it is neither, negative, or more than 100 %.
    """
    text = str(value).strip()
    if match := re.fullmatch(r"(\d+(?:\.\d*)?)%", text):
        return (float(match[1]), True) if float(match[1]) <= 100 else None
    if match := re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", text):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + seconds, False
    return None
