"""Settings of stage `meta`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Values
from reenact.settings.training import LossWeights, TrainingSettings

BUNDLED_MODELS = {
    preset: Path(__file__).parents[1] / "bundled" / f"{preset}.safetensors" for preset in ("mini", "warping")
}
"""The meta-models that come with the package (docs/bundled.md), by `model.preset`."""


class MetaLossWeights(LossWeights):
    """Weight of each loss term; 0 switches it off and saves its cost."""

    embedding_match: float = Field(
        default=1e-2, ge=0, description="L1 between identity embedding and the discriminator's row of the person."
    )


class MetaSettings(TrainingSettings):
    """Meta-learning on many people: encoders, generator and discriminator, or the refiner of the warping family."""

    section: ClassVar[str] = "meta"
    former: ClassVar[dict[str, str]] = {
        "extremes": "is now hard_pose_fraction",
        "face_recognition_weights": "is gone, with the loss that used them",
    }
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
        },
        "warping": {
            "steps": 10_000,
            "decay": 1.0,
            "rise": 100,
            "beta1": 0.9,
            "beta2": 0.99,
            "max_gradient_norm": 5.0,
            "learning_rate": 1e-3,
            "ema": 0.995,
            "checkpoint_every": 100,
            "perceptual_width": 0.25,
            "hard_pose_fraction": 0.67,
        },
    }

    losses: MetaLossWeights = Field(
        default=MetaLossWeights(), description="Loss weights of the constant family, the paper's."
    )
    encoder_rate: float = Field(
        default=1.0, gt=0, description="Learning rate of the encoders as a fraction of learning_rate (published: 1)."
    )
    name: str = Field(default="meta", pattern=r"^[A-Za-z0-9_-]+$", description="Folder under results/meta/.")
    source: str = Field(
        default="train",
        description="train: learn from meta.clips or meta.set; bundled: a meta-model that comes with reenact "
        "(model.preset: mini or warping); or "
        "the path of a meta-model: a model file (.safetensors), or a checkpoint of the published code "
        "(.pth, with model.preset: published).",
    )
    start: str | None = Field(
        default=None,
        description="Begin with the weights of another run's last checkpoint: its folder, or import_published's "
        "--checkpoint-out; null = at random. With model.preset: warping also a model file (.safetensors) of that "
        "family, whose pose encoder and face model are kept as they are; null = that of stage fit.",
    )
    resume: str | None = Field(
        default=None,
        description="Continue another run from its last checkpoint, in its place: its folder. Settings that are not "
        "given stay as they were there; networks, optimizer and people cannot change.",
    )
    clips: list[str] = Field(
        default=[], description="Names of the identities and drivers to learn from; [] = all identities."
    )
    set: str | None = Field(
        default=None,
        description="Meta-learning set to learn from in place of clips: a table (.csv or .parquet with the columns "
        "clip, identity, path and, if need be, start, end, split), or a folder <identity>/<video>, such "
        "as images-cropped/<identity>.",
    )
    sample_of: Literal["clip", "identity"] = Field(
        default="clip",
        description="Of a set: clip = identity frames come from the target's clip, and each clip has its own row in "
        "the discriminator (published); identity = from all clips of the person, who has one row.",
    )
    loaders: int = Field(
        default=2, ge=0, description="Threads that load the samples of the next steps during training; 0 = none."
    )
    shards: int = Field(
        default=16, ge=1, le=10_000, description="Number of files, and of jobs, that the set is divided into."
    )
    frozen_norms: bool = Field(
        default=False,
        description="Batch norms of the encoders keep statistics of many frames, taken before the first step. With "
        "those of a small batch, a descriptor depends more on the other frames than on its own "
        "(published: false).",
    )
    pose_warmup: int = Field(
        default=0,
        ge=0,
        description="Steps of 256 frames before training, in which the pose encoder alone learns to find landmarks; "
        "for little data (published: 0). Not with start.",
    )
    start_warmup: int = Field(
        default=0,
        ge=0,
        description="With start: steps before training, in which the pose encoder learns to find landmarks again "
        "while its descriptors stay close to those before.",
    )
    steps: int = Field(default=100_000, ge=1, description="Training steps.")
    decay: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of the steps, at the end, over which the learning rates fall to zero along half a "
        "cosine (published: 0).",
    )
    rise: int = Field(
        default=0,
        ge=0,
        description="Steps at the beginning over which the learning rates rise from zero (published: 0).",
    )
    max_hours: float | None = Field(
        default=None,
        gt=0,
        description="Training ends, as after the last step, once all runs together have taken this long; null = never.",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        description="Samples a step, of all processes together; a sample is one target frame of one clip.",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Micro-batches that a step's samples are divided into, to save memory; batch norms and the matte "
        "loss see one micro-batch at a time.",
    )
    processes: int = Field(default=1, ge=1, description="Processes that share each step, one per GPU, over all nodes.")
    nodes: int = Field(
        default=1,
        ge=1,
        description="Machines, with the same number of these processes each; more than 1 under SLURM only.",
    )
    validate_clips: list[str] = Field(
        default=[],
        description="Names of identities and drivers to validate on, none of whom should train. [] = images only.",
    )
    validate_frames: int = Field(
        default=6,
        ge=1,
        description="Frames that drive each of at most 8 people in a validation; each takes 0.15 s of a core, for "
        "each of two models.",
    )
    identity_frames: int = Field(
        default=8, ge=1, description="Frames of the same clip that the identity embedding is averaged over."
    )

    @property
    def encoder_learning_rate(self) -> float:
        """Learning rate of the encoders."""
        return self.learning_rate * self.encoder_rate

    def start_files(self) -> list[str]:
        """The model file to begin with, if `start` names one."""
        return [self.start] if self.start and self.start.endswith(".safetensors") else []
