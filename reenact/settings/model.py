"""Settings of the networks, shared by stages `meta` and `finetune`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section

PHOTOS = 4
"""Photos of a person that a warping avatar keeps, where nothing else is said."""

IMAGE_SIZE = {"published": 256, "mini": 128, "small": 64, "warping": 256}


class ModelSettings(Section):
    """Which networks are trained. A model file carries its own, so nothing here matters for driving."""

    section: ClassVar[str] = "model"

    preset: Literal["published", "mini", "small", "warping"] = Field(
        default="published",
        description="published: 256 px, the networks of the paper; mini: 128 px and narrow, as the bundled model; "
        "small: 64 px and narrower still, trains on a CPU in minutes; warping: 256 px, moves the person's own photos.",
    )

    @property
    def image_size(self) -> int:
        """Side of the images that the networks work on, px."""
        return IMAGE_SIZE[self.preset]
