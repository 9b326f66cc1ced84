"""Settings of stage `crop`."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from reenact.settings.base import Section

_POINT = re.compile(r"(?P<x>\d+(\.\d+)?%?)\s*,\s*(?P<y>\d+(\.\d+)?%?)(\s+at\s+(?P<t>\d+(\.\d+)?))?")
_FACES = (
    "must be largest, most_central, a number (people are counted from 0, from left to right), "
    'or a point such as "420,180 at 2.5"'
)


def face_point(face: str) -> tuple[str, str, float] | None:
    """x and y (px, or per cent of the frame) and time (s) of a setting such as "420,180 at 2.5"; None if it is none."""
    match = _POINT.fullmatch(face.strip())
    return (match["x"], match["y"], float(match["t"] or 0)) if match else None


def _check_face(face: str) -> str:
    if face not in ("largest", "most_central") and not face.isdigit() and not face_point(face):
        raise ValueError(_FACES)
    return face


FaceChoice = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    AfterValidator(_check_face),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["largest", "most_central", 0, "420,180 at 2.5"]}),
]


class FaceAlignmentSettings(Section):
    """How the package face-alignment is used, where `detector` chooses it."""

    section: ClassVar[str] = "crop.face_alignment"

    boxes: Literal["sfd", "blazeface", "dlib", "retinaface", "scrfd", "yunet"] = Field(
        default="sfd",
        description="Face detector of the package (published: sfd, that is S3FD). dlib needs no weights; retinaface "
        "needs torchvision, scrfd onnxruntime.",
    )
    weights: str = Field(
        default="",
        description="Folder with its weights under their own names; empty = the package downloads them once.",
    )
    batch_size: int = Field(default=8, ge=1, description="Images, and faces, in one batch.")


class NoFaceSettings(Section):
    """What becomes of a frame in which the person's face is not found."""

    identities: Literal["drop", "hold", "interpolate", "fail"] = Field(
        default="drop",
        description="Frames of identities without a face: drop, hold the last square, interpolate, or fail.",
    )
    drivers: Literal["hold", "interpolate", "fail"] = Field(
        default="interpolate",
        description="Frames of drivers without a face, which are never dropped: hold, interpolate or fail.",
    )


class CropSettings(Section):
    """A square around the tracked face, as in the published code: the box's longer side x scale."""

    section: ClassVar[str] = "crop"

    size: int = Field(
        default=256,
        ge=32,
        le=1024,
        description="Side of the stored crops, px: the model's image size times a power of two.",
    )
    scale: float = Field(
        default=1.8,
        ge=1.0,
        le=4.0,
        description="Side of the square as a multiple of the face box's longer side (published: 1.8).",
    )
    geometry: Literal["smooth", "published", "ffhq"] = Field(
        default="smooth",
        description="smooth: squares at fractions of a pixel; published: at whole pixels, as the published code; "
        "ffhq: rotated upright by eyes and mouth.",
    )
    smoothing: float = Field(
        default=0.15,
        ge=0.0,
        le=5.0,
        description="Standard deviation of the smoothing of the box over time, s; 0 = none.",
    )
    face: FaceChoice = Field(
        default="largest",
        description="Who is followed: largest, most_central, a number (people are counted from 0, from left to "
        'right), or "x,y at t" (px or %, and s). A clip may have its own.',
    )
    detector: Literal["mediapipe", "face-alignment"] = Field(
        default="mediapipe", description="mediapipe (embedded), or face-alignment (published; downloads its weights)."
    )
    face_alignment: FaceAlignmentSettings = Field(default=FaceAlignmentSettings())
    min_confidence: float = Field(default=0.5, ge=0.0, le=1.0, description="Minimum confidence of a face detection.")
    min_face: int = Field(default=24, ge=8, description="Faces less high than this are ignored, px.")
    no_face: NoFaceSettings = Field(default=NoFaceSettings())
    short_gap: float = Field(
        default=0.5,
        ge=0.0,
        description="Maximum length of a stretch without a face that `no_face: interpolate` interpolates, s; longer "
        "ones are held.",
    )
    max_gap: float = Field(
        default=2.0,
        ge=0.0,
        description="Maximum length of a stretch without a face that is held or interpolated, s; a longer one is an "
        "error.",
    )
    min_sharpness: float = Field(
        default=0.0,
        ge=0.0,
        description="Frames of identities whose face is less sharp than this are dropped (column sharpness; 0 = none).",
    )
    max_cut_off: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="Frames of identities with more than this fraction of the face box outside the frame are dropped.",
    )
    max_yaw: float = Field(
        default=75.0,
        ge=0.0,
        le=180.0,
        description="Frames of identities whose head is turned further to a side than this are dropped, degrees.",
    )
