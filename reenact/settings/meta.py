"""Settings of stage `meta`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from reenact.settings.training import TrainingSettings

BUNDLED_MODEL = Path(__file__).parents[1] / "bundled" / "mini.safetensors"
"""The meta-model that comes with the package (docs/bundled.md)."""


class MetaSettings(TrainingSettings):
    """Meta-learning: encoders, generator and discriminator on many people."""

    section: ClassVar[str] = "meta"

    name: str = Field(default="meta", pattern=r"^[A-Za-z0-9_-]+$", description="Folder under results/meta/.")
    source: str = Field(
        default="train",
        description="train: learn from meta.clips; bundled: take the meta-model that comes with reenact; or the path of a meta-model: a model file (.safetensors) or a checkpoint "
        "of the published code (.pth, with model.preset: published).",
    )
    start: str | None = Field(
        default=None,
        description="Begin training with the last checkpoint of another run: its folder, or import_published's --checkpoint-out; null = at random.",
    )
    clips: list[str] = Field(default=[], description="Names of identities and drivers to learn from; empty = all identities.")
    pose_warmup: int = Field(default=0, ge=0, description="Steps before, in which the pose encoder alone learns where the landmarks are; for little data (published: none).")
    steps: int = Field(default=100_000, ge=1, description="Training steps.")
    batch_size: int = Field(default=8, ge=1, description="Samples a step; a sample is one target frame of one clip.")
    mirror: float = Field(default=0.0, ge=0, le=1, description="Probability that all frames of a sample are mirrored (published: none).")
    extremes: float = Field(
        default=0.0, ge=0, le=1, description="Share of the targets that are drawn by how far the face is from the person's usual one, not evenly (published: none).",
    )
    identity_frames: int = Field(default=8, ge=1, description="Frames of the same clip that the identity embedding is averaged over.")
