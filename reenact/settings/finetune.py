"""Settings of stage `finetune`."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from reenact.settings.base import Values
from reenact.settings.model import PHOTOS
from reenact.settings.training import LossWeights, TrainingSettings


class FinetuneLossWeights(LossWeights):
    """Weight of each loss term; 0 switches it off and saves its cost."""

    former: ClassVar[dict[str, str]] = {
        **LossWeights.former,
        "embedding_match": "is of meta-learning alone: in fine-tuning, the embedding is learned",
    }


class FinetuneSettings(TrainingSettings):
    """Personalisation: the generator and one identity embedding on the frames of one person."""

    section: ClassVar[str] = "finetune"
    former: ClassVar[dict[str, str]] = {
        "extremes": "is now hard_pose_fraction",
        "encoder_rate": "is of meta-learning alone: in fine-tuning, encoders stay as they are",
        "stop_early": "is gone: the whole sweep is trained, and judged afterwards",
        "extend": "is gone: finetune.sweep says how far to train",
        "face_recognition_weights": "is gone, with the loss that used them",
    }
    presets: ClassVar[dict[str, Values]] = {
        "mini": {
            # One photo needs the iterations of many frames, too: the astronaut's identity error was 0.105 at 125, which
            # is the guide for one photo, and 0.081 at 345.
            "sweep": [58, 115, 230, 345],
            "beta1": 0.5,
            "learning_rate": 1e-3,
            "discriminator_learning_rate": 1e-4,
            "perceptual_width": 0.25,
            "mirror": 0.1,
            "hard_pose_fraction": 0.5,
            "losses": {"adversarial": 0.1, "feature_matching": 15.0, "pixel": 10.0, "eyes_mouth": 3.0},
            "augment": {"pose": 0.1, "joint": 0.3, "rotation": 12.0, "scale": 0.06, "shift": 0.04},
        },
        "warping": {
            "optimizer": "adam",
            "beta1": 0.9,
            "beta2": 0.99,
            "max_gradient_norm": 5.0,
            "learning_rate": 3e-4,
            "perceptual_width": 0.25,
            "hard_pose_fraction": 0.5,
            "warping": {"references": [3], "stills": 0.1, "losses": {"perceptual": 2.5, "matte": 4.0}},
        },
    }

    losses: FinetuneLossWeights = Field(
        default=FinetuneLossWeights(), description="Loss weights of the constant family, the paper's."
    )
    sweep: list[int] | None = Field(
        default=None,
        description="Iterations whose models are kept. null = a quarter, half, all, and one and a half times the "
        "published guide (125 for one photo to 230 for more than 30 frames); [] = none, the meta-model is "
        "driven as it is.",
    )
    choose: Literal["auto"] | int = Field(
        default="auto",
        description="Iteration that becomes the avatar (0 = not fine-tuned), or auto; a change trains nothing again.",
    )
    references: int = Field(
        default=PHOTOS,
        ge=1,
        le=16,
        description="Most photos that an avatar of the warping family keeps; driving takes longer with each.",
    )
    relief: bool = Field(
        default=True,
        description="Whether the person's other photos say how deep hair, neck and shoulders lie in those that an "
        "avatar of the warping family keeps, and how far they follow the head; takes some seconds.",
    )
    image_size: Literal[128, 256, 512] | None = Field(
        default=None,
        description="Side of the pictures of an avatar of the warping family, px; null = the meta-model's. Its photos "
        "are crops, so that crop.size must be as large. A larger one takes longer to drive, not to train.",
    )
    max_batch: int = Field(
        default=8, ge=1, description="Batch size = min(max_batch, frames); reduced when memory runs out."
    )
    optimizer: Literal["adam", "radam"] = Field(
        default="radam", description="Optimizer of both sides; betas (beta1, beta2), eps 1e-5."
    )
    pose_encoder: Literal["frozen", "published"] = Field(
        default="frozen",
        description="frozen: as the meta-model has it; published: dropout on and batch norms that follow the person's "
        "frames, as the authors left it, so that drivers are seen through drifted statistics.",
    )
    learning_rate: float = Field(default=5e-4, gt=0, description="Learning rate of generator and identity embedding.")
    discriminator_learning_rate: float = Field(default=8e-4, gt=0, description="Learning rate of the discriminator.")
    validate_every: int = Field(
        default=25, ge=1, description="Steps between images for TensorBoard; always at the end."
    )
    ema: float = Field(default=0.972, ge=0, lt=1, description="Decay of the moving average of the weights, per step.")

    @field_validator("sweep")
    @classmethod
    def _increasing(cls, sweep: list[int] | None) -> list[int] | None:
        if sweep and (sweep[0] < 1 or sorted(set(sweep)) != sweep):
            raise ValueError("must increase and start at 1 or later, e.g. [30, 60, 125, 230]")
        return sweep
