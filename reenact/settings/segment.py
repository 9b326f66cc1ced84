"""Settings of stage `segment`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class SegmentSettings(Section):
    """The matte: how much of each pixel of a crop belongs to the person."""

    section: ClassVar[str] = "segment"

    smoothing: float = Field(default=0.04, ge=0.0, le=1.0, description="Standard deviation of the smoothing of mattes over time, s; 0 = none.")
    sharpen: float = Field(default=2.0, ge=1.0, le=10.0, description="Contrast of the matte about one half; 1 leaves the soft edges of the segmentation network.")
