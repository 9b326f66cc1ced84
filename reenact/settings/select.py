"""Settings of stage `select`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class SelectSettings(Section):
    """Which iteration of the sweep becomes the avatar, where finetune.choose is auto."""

    section: ClassVar[str] = "select"

    identity_weight: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the identity error in the trade-off; the rest goes to the pose error.",
    )
    max_jitter: float = Field(
        default=3.0,
        gt=0,
        description="Iterations whose temporal jitter exceeds this multiple of the driver's are left out while others remain.",
    )
    max_failed: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Iterations in which a larger share of the frames shows no face are left out while others remain.",
    )
    noise: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="An error that varies over the sweep by less than this share of its mean is not stretched to the full scale; a sweep whose best has not an identity error this share below that of no fine-tuning does not end early, and goes on while likeness gets better.",
    )
    likeness: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Iterations whose identity error is less than this share of the way from that of no fine-tuning to the least of the sweep (surely so, where that is not lower by noise) are left out while others remain.",
    )
    tie: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Iterations this close to the best combined score, or as close as noise between frames, count as equal; the fewest iterations win.",
    )
