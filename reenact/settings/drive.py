"""Settings of stage `drive`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import DrivingPrecision, Section


class DriveSettings(Section):
    """The frames that every model of the sweep is driven with before one is chosen."""

    section: ClassVar[str] = "drive"

    driver: str | None = Field(
        default=None,
        description="Driver of the cross-driving scores; null = the first in `drivers` whose media are not the "
        "identity's own.",
    )
    frames: int = Field(
        default=96, ge=9, description="Maximum number of frames of each protocol, in short runs spread over the clip."
    )
    batch_size: int = Field(default=8, ge=1, description="Frames in one batch.")
    precision: DrivingPrecision = Field(
        default="auto",
        description="What the network that draws computes in; auto: bf16 where the machine has instructions for it, "
        "else fp32.",
    )
