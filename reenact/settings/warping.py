"""Settings of how the warping family is trained."""

from pydantic import Field, field_validator

from reenact.settings.base import Section


class WarpingLossWeights(Section):
    """Weight of each loss term of the warping family; the generated picture is what it would show without photos."""

    perceptual: float = Field(
        default=1.0,
        ge=0,
        description="L1 between VGG-19 features of output and target, of generated and target, and of eyes and mouth "
        "of both enlarged, by step in turn.",
    )
    pixel: float = Field(default=8.0, ge=0, description="L1 between output and target.")
    generated: float = Field(default=4.0, ge=0, description="L1 between the generated picture and the target.")
    eyes_mouth: float = Field(default=8.0, ge=0, description="L1 between output and target around eyes and mouth.")
    generated_eyes_mouth: float = Field(
        default=6.0, ge=0, description="L1 between the generated picture and the target around eyes and mouth."
    )
    generated_inside_lips: float = Field(
        default=6.0, ge=0, description="L1 between the generated picture and the target between the lips."
    )
    matte: float = Field(default=2.0, ge=0, description="Dice loss and L1 of the matte.")
    photo: float = Field(default=3.0, ge=0, description="L1 between the moved photos and the target.")
    share: float = Field(
        default=0.5, ge=0, description="Cross entropy: photos are taken where they are right, less where they are not."
    )
    choice: float = Field(
        default=0.5, ge=0, description="Cross entropy: of several photos, the one that is right is trusted."
    )
    mesh: float = Field(
        default=10.0,
        ge=0,
        description="With `said`: L1 between the mesh that the pose encoder says and the target's, openings once more.",
    )
    blendshapes: float = Field(
        default=0.3,
        ge=0,
        description="L1 between blendshapes that the pose encoder says and those from before (`said`).",
    )


class WarpingSettings(Section):
    """Samples and losses of the warping family."""

    references: list[int] = Field(
        default=[1, 1, 3],
        min_length=1,
        description="Photos of the person in the samples of a step, by step in turn; in fine-tuning at most one less "
        "than the avatar keeps.",
    )
    stills: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Fraction of the samples whose person is known by a single frame; they teach what a turn uncovers.",
    )
    exact: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Fraction of the samples whose photos move exactly as the mesh of the target does; the others as "
        "the face model can say it.",
    )
    said: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Meta-learning alone: fraction of the clips' samples whose photos move as the pose encoder says, "
        "which learns by the pictures then, at meta.encoder_rate of the learning rate; 0 = it stays as it is.",
    )
    losses: WarpingLossWeights = Field(default=WarpingLossWeights(), description="Loss weights.")

    @field_validator("references")
    @classmethod
    def _some(cls, references: list[int]) -> list[int]:
        if not all(1 <= count <= 16 for count in references):
            raise ValueError("must be numbers from 1 to 16, e.g. [1, 1, 3]")
        return references
