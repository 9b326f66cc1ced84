"""Settings of stage `render`."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from reenact.settings.base import Section


class RenderSettings(Section):
    """The videos: H.264 in mp4, plays in a browser."""

    section: ClassVar[str] = "render"

    height: int = Field(default=256, ge=64, le=2160, description="Height of the videos, px, even; frames are enlarged to it.")
    batch_size: int = Field(default=8, ge=1, description="Frames rendered at once.")
    crf: int = Field(default=16, ge=0, le=51, description="Quality of x264, 0 best to 51 worst.")
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = Field(default="medium", description="Speed of x264 against file size.")
    audio: Literal["driver", "none"] = Field(default="driver", description="The driver's sound, or none.")

    @field_validator("height")
    @classmethod
    def _even(cls, height: int) -> int:
        if height % 2:
            raise ValueError("must be even: H.264 with yuv420p needs it")
        return height
