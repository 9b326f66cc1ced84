"""Settings of stage `shard`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section


class ShardSettings(Section):
    """What is kept of each clip of the meta-learning set, and how."""

    section: ClassVar[str] = "shard"

    frames: int = Field(default=32, ge=2, description="Maximum number of frames kept of a clip, spread over its media.")
    min_frames: int = Field(
        default=2,
        ge=1,
        description="Minimum number of frames of a clip, else it is left out; 1 keeps photos, of which the warping "
        "family learns.",
    )
    videos: int = Field(
        default=4,
        ge=1,
        description="Maximum number of videos used of a clip that is a folder of videos (as VoxCeleb2's are), spread "
        "over the folder.",
    )
    format: Literal["jpeg", "png"] = Field(
        default="jpeg",
        description="Format of the frames: jpeg (full colour resolution), or png, lossless and four times as large. "
        "Mattes are PNG.",
    )
    quality: int = Field(default=95, ge=50, le=100, description="Quality of JPEG.")
    max_failed: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="Maximum fraction of a shard's clips that may fail before its job does; rounded up to whole clips.",
    )
