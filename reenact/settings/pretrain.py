"""Settings of stage `pretrain`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section


class PretrainSettings(Section):
    """The pose encoder of the warping family learns expressions and head pose, from clips and photos."""

    section: ClassVar[str] = "pretrain"
    without_effect: ClassVar[set[str]] = {"checkpoint_every", "name"}
    """Settings that change no result: a run whose others are the same goes on from its checkpoints."""

    name: str = Field(default="face", pattern=r"^[A-Za-z0-9_-]+$", description="Folder under results/pretrain/.")
    steps: int = Field(default=600, ge=1, description="Training steps.")
    batch_size: int = Field(default=32, ge=2, description="Frames a step, half of them of clips and half photos.")
    learning_rate: float = Field(
        default=3e-4, gt=0, description="Learning rate of the trunk, which has learned to see faces already."
    )
    outputs: int = Field(default=64, ge=8, le=512, description="Length of the pose descriptor.")
    frames: int = Field(
        default=120, ge=1, description="Frames of each clip to learn from, spread over it; each takes 15 ms to label."
    )
    clips: int = Field(default=5000, ge=1, description="Clips and photos to learn from, of people spread over all.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="bf16: the trunk computes in bfloat16; auto: where the machine has instructions for it, else fp32. "
        "A run goes on as it began.",
    )
    seed: int = Field(default=1, ge=0, description="Seed of everything random, together with the step number.")
    checkpoint_every: int = Field(
        default=100, ge=1, description="Steps between checkpoints; a killed run resumes from the last."
    )
