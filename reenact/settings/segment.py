"""Settings of stage `segment`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section


class SegmentSettings(Section):
    """The matte: how much of each pixel of a crop belongs to the person."""

    section: ClassVar[str] = "segment"

    network: Literal["mediapipe", "mediapipe_general", "transformers"] = Field(
        default="mediapipe",
        description="mediapipe: its selfie segmentation for video calls (embedded); mediapipe_general: its other "
        "model, half as fast; transformers: a Hugging Face model (segment.model).",
    )
    model: str = Field(
        default="jonathandinu/face-parsing",
        min_length=1,
        description="For transformers: id or local folder of a semantic or universal segmentation model.",
    )
    revision: str | None = Field(
        default=None,
        description="Commit, tag or branch of that id; null = a pinned commit of the default model, the newest of any "
        "other.",
    )
    offline: bool = Field(default=False, description="Use only what was downloaded before (with transformers).")
    labels: list[str] = Field(
        default=[], description="Labels of that model that belong to the person; [] = all but its background."
    )
    batch_size: int = Field(default=8, ge=1, description="Crops in one batch (with transformers).")
    smoothing: float = Field(
        default=0.04,
        ge=0.0,
        le=1.0,
        description="Standard deviation of the smoothing of mattes over time, s; 0 = none.",
    )
    sharpen: float = Field(
        default=2.0,
        ge=1.0,
        le=10.0,
        description="Contrast of the matte about one half; 1 keeps the soft edges of the segmentation network.",
    )
    max_jump: float = Field(
        default=0.08,
        gt=0.0,
        le=1.0,
        description="Warn where the area of the matte changes by more than this fraction of the crop from one frame "
        "to the next.",
    )
