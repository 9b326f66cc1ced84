"""Settings of live driving."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import DrivingPrecision, Section
from reenact.settings.mark import MarkSettings
from reenact.settings.render import EvenHeight, PoseEditSettings


class LiveSettings(Section):
    """A camera drives an avatar: how its face is followed, and what is shown."""

    section: ClassVar[str] = "live"

    height: EvenHeight = Field(default=512, ge=64, le=2160, description="Height of the image that is shown, px, even.")
    beside: bool = Field(default=False, description="Show the driver's crop on the left.")
    scale: float = Field(
        default=1.8,
        ge=1.0,
        le=4.0,
        description="Side of the square as a multiple of the face box's longer side; crop.scale of the training data.",
    )
    min_confidence: float = Field(default=0.5, ge=0, le=1, description="Minimum confidence of a face detection.")
    cutoff: float = Field(
        default=1.0,
        gt=0,
        description="One-Euro filter of the square: cutoff frequency of a face at rest, Hz; lower is calmer.",
    )
    beta: float = Field(
        default=10.0,
        ge=0,
        description="One-Euro filter of the square: Hz of cutoff for each square's side per second of speed; higher "
        "follows faster.",
    )
    pose: PoseEditSettings = Field(
        default=PoseEditSettings(), description="Which part of the driver is followed, and how; as render.pose."
    )
    precision: DrivingPrecision = Field(default="auto", description="As render.precision.")
    report_every: float = Field(
        default=2.0, gt=0, description="Time between two lines about frame rate and latency, s."
    )
    mark: MarkSettings = Field(default=MarkSettings(), description="What the pictures say about themselves.")
