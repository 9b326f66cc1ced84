"""Settings of morphing."""

from pydantic import Field

from reenact.settings.mark import MarkSettings
from reenact.settings.render import RenderSettings


class MorphSettings(RenderSettings):
    """The video of a morph, as those of stage `render`, and what it says about itself."""

    mark: MarkSettings = Field(default=MarkSettings(), description="What the video says about itself.")
