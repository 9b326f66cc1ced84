"""Settings of stage `decode`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class DecodeSettings(Section):
    """Exact frame times of every clip, and which frames are used."""

    section: ClassVar[str] = "decode"

    max_frames: int = Field(default=256, ge=1, description="Most training frames of an identity, spread over its media; the sharpest of each neighbourhood.")
