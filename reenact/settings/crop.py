"""Settings of stage `crop`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section


class CropSettings(Section):
    """A square around the tracked face, as in the published code: the box's longer side x scale."""

    section: ClassVar[str] = "crop"

    size: int = Field(default=256, ge=32, le=1024, description="Side of the stored crops, px. A power-of-two multiple of the model's image size.")
    scale: float = Field(default=1.8, ge=1.0, le=4.0, description="Side of the square / longer side of the face box (published: 1.8).")
    smoothing: float = Field(default=0.15, ge=0.0, le=5.0, description="Standard deviation of the box smoothing over time, s; 0 = none.")
    face: Literal["largest", "most_central"] = Field(default="largest", description="Which person is followed when there are several.")
    min_confidence: float = Field(default=0.5, ge=0.0, le=1.0, description="Least confidence of a face detection.")
    min_face: int = Field(default=24, ge=8, description="Faces lower than this are ignored, px.")
    max_gap: float = Field(default=2.0, ge=0.0, description="Longest stretch of a driver without its face that is bridged, s.")
