"""Settings that meta-learning and fine-tuning share."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section, Values
from reenact.settings.warping import WarpingSettings

CROP_SCALE = 1.8
"""Default of crop.scale, which is not imported: an edit of how crops are made is none of how networks are trained."""


class LossWeights(Section):
    """Weight of each loss term; 0 switches it off and saves its cost."""

    former: ClassVar[dict[str, str]] = {
        "landmarks": "is gone: the pose encoder learns landmarks before training (meta.pose_warmup)",
        "face_recognition": "is gone: without it nothing got worse",
    }

    chooser: ClassVar[str] = "form"
    # Where they differ from ours: the VGGs of that form put out several hundred.
    presets: ClassVar[dict[str, Values]] = {"published": {"perceptual": 3e-2, "face_perceptual": 6e-3}}

    form: Literal["ours", "published"] = Field(
        default="ours",
        description="published: matte, embedding and perceptual losses as the authors', quirks included. Weights that "
        "are left out are then theirs: perceptual 3e-2, face_perceptual 6e-3.",
    )
    adversarial: float = Field(default=1.0, ge=0, description="Hinge adversarial loss.")
    feature_matching: float = Field(
        default=10.0, ge=0, description="L1 between discriminator features of output and target."
    )
    perceptual: float = Field(default=1.0, ge=0, description="L1 between VGG-19 features of output and target.")
    face_perceptual: float = Field(
        default=0.0,
        ge=0,
        description="L1 between VGGFace (VGG-16) features of the middle of output and target, where the face is.",
    )
    dice: float = Field(default=1.0, ge=0, description="Dice loss of the matte.")
    pixel: float = Field(default=0.0, ge=0, description="L1 between output and target (published: 0).")
    eyes_mouth: float = Field(
        default=0.0, ge=0, description="L1 between output and target around eyes and mouth alone (published: 0)."
    )


class AugmentSettings(Section):
    """Random changes of training frames."""

    chooser: ClassVar[str] = "form"
    presets: ClassVar[dict[str, Values]] = {"published": {"joint": 0.5, "rotation": 0.0, "scale": 0.0, "shift": 0.05}}

    form: Literal["ours", "published"] = Field(
        default="ours",
        description="published: settings of the joint changes that are left out take the authors' values (joint 0.5, "
        "rotation 0, scale 0, shift 0.05).",
    )
    pose: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability of colour changes, blur, noise, JPEG artefacts, elastic deformation and x/y scaling "
        "of the driving frame alone.",
    )
    joint: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability of a rotation, scale and shift shared by driving frame, target and matte.",
    )
    rotation: float = Field(default=15.0, ge=0, le=90, description="Maximum joint rotation, degrees.")
    scale: float = Field(default=0.12, ge=0, le=0.5, description="Maximum joint change of scale, as a fraction.")
    shift: float = Field(default=0.08, ge=0, le=0.5, description="Maximum joint shift, as a fraction of the image.")
    colour: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability of a colour cast and contrast shared by all frames of a sample, as of another person.",
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

    preset: Literal["published", "mini", "warping"] = Field(
        default="published",
        description="published: values of the paper and the authors' code; mini, warping: values chosen for the "
        "networks of that model.preset. Settings that are given come before the preset's.",
    )
    optimizer: Literal["adam", "radam"] = Field(
        default="adam", description="Optimizer of both sides; betas (beta1, beta2), eps 1e-5."
    )
    beta1: float = Field(default=0.0, ge=0, lt=1, description="Momentum of the optimizers (published: 0).")
    beta2: float = Field(
        default=0.999, gt=0, lt=1, description="Decay of the optimizers' mean of squared gradients (published: 0.999)."
    )
    max_gradient_norm: float | None = Field(
        default=None,
        gt=0,
        description="Longer gradients, over all weights of a side, are shortened to this; null = never (published).",
    )
    learning_rate: float = Field(default=5e-5, gt=0, description="Learning rate of encoders and generator.")
    discriminator_learning_rate: float = Field(default=2e-4, gt=0, description="Learning rate of the discriminator.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Decay of the moving average of the weights, per step.")
    precision: Literal["auto", "fp32", "tf32", "bf16"] = Field(
        default="auto",
        description="bf16: networks compute in bfloat16; weights, norms and losses stay float32; tf32: NVIDIA GPUs "
        "round what they multiply in float32 to 10 bits; auto: bf16 where the machine has instructions for it, else "
        "fp32. A run goes on as it began.",
    )
    channels_last: bool = Field(
        default=True,
        description="Networks use the memory format channels_last, which is faster on all hardware that was tried.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the networks with torch.compile: minutes at the start, faster steps on GPUs.",
    )
    seed: int = Field(default=1, ge=0, description="Seed of everything random, together with the step number.")
    checkpoint_every: int = Field(
        default=50, ge=1, description="Steps between checkpoints; a killed run resumes from the last."
    )
    validate_every: int = Field(
        default=1000, ge=1, description="Steps between validations, and images for TensorBoard; always at the end."
    )
    log_every: int = Field(default=1, ge=1, description="Steps that one row of statistics averages over.")
    perceptual_weights: str | None = Field(
        default=None,
        description="VGG-19 of the perceptual loss: null = embedded, with fixed random weights; torchvision = torch "
        "hub's, downloaded once; or the path of a weights file (torchvision's or the authors' "
        "vgg19-d01eb7cb.pth).",
    )
    face_perceptual_weights: str | None = Field(
        default=None,
        description="VGGFace of the face perceptual loss: null = a VGG-16 with fixed random weights; or the path of "
        "vgg_face_weights.pth.",
    )
    crop_scale: float | None = Field(
        default=None,
        ge=1,
        le=4,
        description="Side of the crops as a multiple of the face box's longer side, so that the face perceptual loss "
        "finds the face; null = crop.scale.",
    )
    perceptual_width: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Perceptual networks with random weights have this fraction of the channels.",
    )
    mirror: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability that all frames of a sample are mirrored (published: 0). Fine-tuning never mirrors a "
        "single photo.",
    )
    hard_pose_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of the targets that are drawn more often the further pose and expression are from the "
        "person's usual ones; the others are drawn uniformly (published: 0).",
    )
    losses: LossWeights = Field(default=LossWeights(), description="Loss weights of the constant family, the paper's.")
    warping: WarpingSettings = Field(
        default=WarpingSettings(), description="Samples and loss weights of the warping family."
    )
    augment: AugmentSettings = Field(default=AugmentSettings(), description="Augmentation.")

    @property
    def encoder_learning_rate(self) -> float:
        """Learning rate of encoders, where any learn."""
        return self.learning_rate

    def weight_files(self) -> dict[str, str]:
        """Setting -> path of each file of perceptual weights that the losses use."""
        files = {term: getattr(self, f"{term}_weights") for term in ("perceptual", "face_perceptual")}
        return {
            f"{term}_weights": path
            for term, path in files.items()
            if path not in (None, "torchvision") and getattr(self.losses, term)
        }
