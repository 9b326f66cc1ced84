"""Settings that meta-learning and fine-tuning share."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section, Values


class LossWeights(Section):
    """Weight of each loss term; 0 switches it off and saves its cost."""

    chooser: ClassVar[str] = "form"
    # Where they differ from ours: the VGGs of that form put out several hundred.
    presets: ClassVar[dict[str, Values]] = {"published": {"perceptual": 3e-2, "face_perceptual": 6e-3}}

    form: Literal["ours", "published"] = Field(
        default="ours",
        description="published: matte, embedding and perceptual losses to the authors' number, quirks included; "
        "weights left out of the file are then theirs: perceptual 3e-2, face_perceptual 6e-3.",
    )
    adversarial: float = Field(default=1.0, ge=0, description="Hinge adversarial loss.")
    feature_matching: float = Field(
        default=10.0, ge=0, description="L1 between discriminator features of output and target."
    )
    perceptual: float = Field(default=1.0, ge=0, description="L1 between VGG-19 features of output and target.")
    face_perceptual: float = Field(
        default=0.0, ge=0, description="The same on the middle of the image, where the face is, with VGGFace (VGG-16)."
    )
    dice: float = Field(default=1.0, ge=0, description="Dice loss of the matte.")
    embedding_match: float = Field(
        default=1e-2, ge=0, description="L1 between identity embedding and the discriminator's row; meta only."
    )
    pixel: float = Field(default=0.0, ge=0, description="L1 between output and target (published: none).")
    eyes_mouth: float = Field(default=0.0, ge=0, description="The same around eyes and mouth alone (published: none).")
    landmarks: float = Field(
        default=0.0,
        ge=0,
        description="Distance of the landmarks that the network of meta.pose_warmup sees in output and target; meta only (published: none).",
    )
    face_recognition: float = Field(
        default=0.0,
        ge=0,
        description="L1 between features of a face recognition network; needs face_recognition_weights (published: none).",
    )


class AugmentSettings(Section):
    """Random changes of training frames."""

    chooser: ClassVar[str] = "form"
    presets: ClassVar[dict[str, Values]] = {"published": {"joint": 0.5, "rotation": 0.0, "scale": 0.0, "shift": 0.05}}

    form: Literal["ours", "published"] = Field(
        default="ours",
        description="published: joint changes left out of the file are the authors' (joint 0.5, rotation 0, scale 0, shift 0.05).",
    )
    pose: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability of colour, blur, noise, JPEG, elastic jitter and x/y scaling of the driving frame alone.",
    )
    joint: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability of a shared rotation, scale and shift of driving frame, target and matte.",
    )
    rotation: float = Field(default=15.0, ge=0, le=90, description="Largest joint rotation, degrees.")
    scale: float = Field(default=0.12, ge=0, le=0.5, description="Largest joint change of scale, share.")
    shift: float = Field(default=0.08, ge=0, le=0.5, description="Largest joint shift, share of the image.")
    colour: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability of another colour cast and contrast of all frames of a sample alike, as of another person.",
    )


class TrainingSettings(Section):
    """One training run."""

    without_effect: ClassVar[set[str]] = {
        "preset",
        "checkpoint_every",
        "validate_every",
        "log_every",
        "compile",
        "channels_last",
    }
    """Settings that by themselves change no result but by rounding: a run whose others are the same goes on from its
    checkpoints."""

    optimizer: Literal["adam", "radam"] = Field(
        default="adam", description="Optimizer of both sides; betas (beta1, 0.999), eps 1e-5."
    )
    beta1: float = Field(default=0.0, ge=0, lt=1, description="Momentum of the optimizers (published: 0).")
    learning_rate: float = Field(default=5e-5, gt=0, description="Learning rate of encoders and generator.")
    encoder_rate: float = Field(
        default=1.0, gt=0, description="Learning rate of the encoders as a share of learning_rate (published: 1)."
    )
    discriminator_learning_rate: float = Field(default=2e-4, gt=0, description="Learning rate of the discriminator.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Decay of the moving average of the weights, per step.")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="bf16: networks compute in bfloat16, half the time where the hardware has it; weights stay float32.",
    )
    channels_last: bool = Field(
        default=False,
        description="Encoders and discriminator keep channels innermost, which some hardware is faster with.",
    )
    compile: bool = Field(
        default=False, description="torch.compile the networks: minutes at the start, faster steps on GPUs."
    )
    seed: int = Field(default=1, ge=0, description="Everything random follows from it and the step number.")
    checkpoint_every: int = Field(
        default=50, ge=1, description="Steps between checkpoints; a killed run goes on from the last."
    )
    validate_every: int = Field(
        default=1000, ge=1, description="Steps between validations, and pictures for TensorBoard; always at the end."
    )
    log_every: int = Field(default=1, ge=1, description="Steps that a row of statistics is the mean of.")
    perceptual_weights: str | None = Field(
        default=None,
        description="VGG-19 of the perceptual loss: null = embedded, with fixed random weights; torchvision = torch hub's, "
        "downloaded once; or the path of a weights file (torchvision's or the authors' vgg19-d01eb7cb.pth).",
    )
    face_perceptual_weights: str | None = Field(
        default=None,
        description="VGGFace of the face perceptual loss: null = a VGG-16 with fixed random weights; or a path (vgg_face_weights.pth).",
    )
    face_recognition_weights: str | None = Field(
        default=None, description="MobileFaceNet of the face recognition loss: the path of a checkpoint; null = none."
    )
    perceptual_width: float = Field(
        default=1.0, gt=0, le=1, description="Share of the channels in perceptual networks with random weights."
    )
    mirror: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability that all frames of a sample are mirrored (published: none); fine-tuning never mirrors a single photo.",
    )
    hard_pose_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the targets that are drawn by how far the face is from the person's usual one, not evenly (published: none).",
    )
    losses: LossWeights = Field(default=LossWeights(), description="Loss weights.")
    augment: AugmentSettings = Field(default=AugmentSettings(), description="Augmentation.")

    def rate(self, step: int) -> float:
        """Share of the learning rates that a step, from 1, is made with."""
        return 1.0

    def weight_files(self) -> dict[str, str]:
        """Setting -> path of each file of perceptual weights that the losses use."""
        files = {
            term: getattr(self, f"{term}_weights") for term in ("perceptual", "face_perceptual", "face_recognition")
        }
        return {
            f"{term}_weights": path
            for term, path in files.items()
            if path not in (None, "torchvision") and getattr(self.losses, term)
        }
