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
