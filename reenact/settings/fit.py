"""Settings of stage `fit`."""

from typing import ClassVar

from pydantic import Field

from reenact.settings.base import Section


class FitSettings(Section):
    """The face model of the warping family: how meshes move, and what a pose descriptor says of it."""

    section: ClassVar[str] = "fit"

    shapes: int = Field(default=32, ge=1, le=256, description="Directions in which a face's mesh moves.")
    frames: int = Field(
        default=120,
        ge=8,
        description="Frames of each clip to fit to, spread over it; each takes 30 ms of a core. Clips of 8 and more "
        "say how faces move, photos what a descriptor says of an expression.",
    )
    clips: int = Field(default=5000, ge=1, description="Clips and photos to fit to, of people spread over all.")
    seed: int = Field(default=1, ge=0, description="Seed of the refiner's weights, which stage meta trains.")
