"""Settings of editing: a still or a video in which controls are moved."""

from reenact.settings.morph import MorphSettings


class EditSettings(MorphSettings):
    """The picture or video of an edit, as those of stage `render`, and what it says about itself."""
