"""Settings of stage `score`."""

from typing import ClassVar, Literal

from pydantic import Field

from reenact.settings.base import Section


class ScoreSettings(Section):
    """How driven avatars are measured."""

    section: ClassVar[str] = "score"

    descriptor: Literal["dlib", "arcface"] = Field(
        default="dlib",
        description="Face descriptor of the identity error. dlib: ResNet-29, 128-d, public domain. arcface: any "
        "network of that kind from an ONNX file (RGB, aligned, 112 x 112 or 112 x 96).",
    )
    descriptor_weights: str = Field(
        default="resources/weights/dlib_face_recognition_resnet_model_v1.dat", description="Its weights."
    )
    descriptor_licence: str = Field(
        default="",
        description="Licence of the weights as the tables shall name it; empty = public domain for dlib, 'not stated' "
        "for others.",
    )
    reference_frames: int = Field(
        default=32, ge=1, description="Most frames of the real person that an avatar is compared with."
    )
    identity_frames: int = Field(
        default=32,
        ge=1,
        description="Most frames of each output whose identity is measured, evenly spread (published: 32); 0.01 s each "
        "with dlib.",
    )
    min_confidence: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Least confidence of a face detection in an output; below it the frame counts as failed.",
    )
    perceptual: Literal["random", "lpips"] = Field(
        default="random",
        description="Perceptual distance. random: a VGG-19 with fixed random weights, always there. lpips: LPIPS v0.1 "
        "(AlexNet); needs the packages lpips and torchvision.",
    )
    perceptual_width: float = Field(
        default=0.25, gt=0, le=1, description="random: channels of the VGG-19 as a share of the original's."
    )
    perceptual_weights: str | None = Field(
        default=None,
        description="lpips: file of AlexNet's ImageNet weights (alexnet-owt-7be5be79.pth); null = torchvision "
        "downloads them.",
    )
