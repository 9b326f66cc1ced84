"""Settings of stage `score`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section


class ScoreSettings(Section):
    """How driven avatars are measured."""

    section: ClassVar[str] = "score"

    descriptor: Literal["dlib"] = Field(default="dlib", description="Face descriptor of the identity error: dlib's ResNet-29 (128-d, public domain).")
    descriptor_weights: str = Field(default="resources/weights/dlib_face_recognition_resnet_model_v1.dat", description="Its weights.")
    reference_frames: int = Field(default=32, ge=1, description="Most frames of the real person that an avatar is compared with.")
    identity_frames: int = Field(default=32, ge=1, description="Most frames of each output whose identity is measured, evenly spread (published: 32); 0.13 s each.")
    min_confidence: float = Field(default=0.5, ge=0.0, le=1.0, description="Least confidence of a face detection in an output; below it the frame counts as failed.")
    perceptual_width: float = Field(default=0.25, gt=0, le=1, description="Channels of the perceptual distance's VGG-19 (fixed random weights), as a share of the original's.")
