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
        description="Maximum number of training frames of an identity. They are spread over its media, and the "
        "sharpest of each neighbourhood is taken.",
    )
    min_sharpness: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Frames of an identity's video are not trained on if they are less sharp than this fraction of "
        "the median over the 4 s around them; 0 = all are used.",
    )
    min_change: float = Field(
        default=0.75,
        ge=0.0,
        le=255.0,
        description="Frames of an identity are not trained on if they differ from the one before by less than this (0 "
        "to 255, where the frame differs most: the mean over a cell of an eighth of its width and "
        "height); 0 = all are used.",
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
