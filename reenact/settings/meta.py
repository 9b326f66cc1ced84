"""Settings of stage `meta`."""

import math
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Values
from reenact.settings.training import TrainingSettings

BUNDLED_MODEL = Path(__file__).parents[1] / "bundled" / "mini.safetensors"
"""The meta-model that comes with the package (docs/bundled.md)."""


class MetaSettings(TrainingSettings):
    """Meta-learning: encoders, generator and discriminator on many people."""

    section: ClassVar[str] = "meta"
    former: ClassVar[dict[str, str]] = {"extremes": "is now hard_pose_fraction"}
    without_effect: ClassVar[set[str]] = {
        *TrainingSettings.without_effect,
        "steps",
        "max_hours",
        "processes",
        "nodes",
        "validate_clips",
        "validate_frames",
        "loaders",
    }
    presets: ClassVar[dict[str, Values]] = {
        "mini": {
            "steps": 3000,
            "identity_frames": 3,
            "frozen_norms": True,
            "pose_warmup": 160,
            "beta1": 0.5,
            "learning_rate": 3e-4,
            "encoder_rate": 0.2,
            "discriminator_learning_rate": 1e-4,
            "ema": 0.998,
            "checkpoint_every": 250,
            "perceptual_width": 0.25,
            "mirror": 0.5,
            "hard_pose_fraction": 0.5,
            "losses": {"adversarial": 0.1, "feature_matching": 15.0, "pixel": 10.0, "eyes_mouth": 8.0},
            "augment": {"pose": 0.7, "joint": 0.7, "rotation": 12.0, "scale": 0.1, "shift": 0.06, "colour": 0.5},
        }
    }

    preset: Literal["published", "mini"] = Field(
        default="published",
        description="published: for as many people as VoxCeleb2 has; mini: for the networks of model.preset: mini and "
        "some dozen people. What is set besides comes before.",
    )
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
    resume: str | None = Field(
        default=None,
        description="Go on with the last checkpoint of another run, which this one replaces: its folder. What is not set anew stays as it was there; "
        "networks, optimizer and people cannot change.",
    )
    clips: list[str] = Field(
        default=[], description="Names of identities and drivers to learn from; empty = all identities."
    )
    set: str | None = Field(
        default=None,
        description="Learn from a meta-learning set in place of clips: a table (.csv or .parquet with columns clip, identity, path and, if need be, "
        "start, end, split), or a folder <identity>/<video>, images-cropped/<identity> among them.",
    )
    sample_of: Literal["clip", "identity"] = Field(
        default="clip",
        description="Of a set: identity frames come from the target's clip, and each clip has a row of its own in the discriminator (published); "
        "or from all clips of the person, who has one row.",
    )
    loaders: int = Field(
        default=2, ge=0, description="Threads that fetch the samples of coming steps while one trains; 0 = none."
    )
    shards: int = Field(default=16, ge=1, le=10_000, description="Files, and jobs, that the set is divided into.")
    frozen_norms: bool = Field(
        default=False,
        description="Batch norms of the encoders keep the statistics of many frames, taken before the first step; those of a small batch make descriptors "
        "that depend more on the other frames in it than on their own (published: no).",
    )
    pose_warmup: int = Field(
        default=0,
        ge=0,
        description="Steps of 256 frames before, in which the pose encoder alone learns where the landmarks are; for little data (published: none). Not with start.",
    )
    start_warmup: int = Field(
        default=0,
        ge=0,
        description="With start: as many such steps before, in which the pose encoder learns again where the landmarks are; its descriptors stay as like those before as can be.",
    )
    steps: int = Field(default=100_000, ge=1, description="Training steps.")
    decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the steps, at the end, over which the learning rates fall to nothing, along half a cosine (published: none).",
    )
    max_hours: float | None = Field(
        default=None,
        gt=0,
        description="Training ends, as after the last step, when it has taken so long, all runs together; null = never.",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        description="Samples a step, of all processes together; a sample is one target frame of one clip.",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Pieces that a step's samples are worked through in, for less memory; batch norms and the matte loss see a piece at a time.",
    )
    processes: int = Field(default=1, ge=1, description="Processes that share each step, one a GPU, over all nodes.")
    nodes: int = Field(
        default=1,
        ge=1,
        description="Machines with the same number of these processes each; more than 1 under SLURM only.",
    )
    validate_clips: list[str] = Field(
        default=[],
        description="Names of identities and drivers that validate; nobody among them should train. Empty = pictures only.",
    )
    validate_frames: int = Field(
        default=6,
        ge=1,
        description="Frames that drive each of at most 8 people in a validation; 0.15 s of a core each, and each of two models.",
    )
    identity_frames: int = Field(
        default=8, ge=1, description="Frames of the same clip that the identity embedding is averaged over."
    )

    def rate(self, step: int) -> float:
        """Share of the learning rates that a step, from 1, is made with (`decay`); 1 before they fall, above 0 at the last one."""
        falling = self.decay * self.steps
        passed = step - 1 - (self.steps - falling)
        return 0.5 + 0.5 * math.cos(math.pi * passed / falling) if passed > 0 else 1.0
