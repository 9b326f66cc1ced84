"""Settings of stage `render`, and what its outputs are called."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from reenact.settings.base import DrivingPrecision, Section

Output = Literal["avatar", "side_by_side", "alpha", "frames", "on_background", "pasted"]
Encoder = Literal[
    "libx264", "libx265", "h264_nvenc", "hevc_nvenc", "h264_videotoolbox", "hevc_videotoolbox", "h264_qsv", "h264_amf"
]


def _check_even(height: int) -> int:
    if height % 2:
        raise ValueError("must be even: H.264 with yuv420p needs it")
    return height


EvenHeight = Annotated[int, AfterValidator(_check_even)]


class GainSettings(Section):
    """How far each part follows the driver: 0 stays as the person has it, 1 follows, more exaggerates."""

    mouth: float = Field(default=1.0, ge=0, le=2, description="Mouth, cheeks and jaw; 0 stays, 1 follows.")
    eyes: float = Field(default=1.0, ge=0, le=2, description="Lids and gaze.")
    brows: float = Field(default=1.0, ge=0, le=2, description="Brows and forehead.")
    head: float = Field(default=1.0, ge=0, le=2, description="Where the head is and how it is turned.")


class PoseEditSettings(Section):
    """Which part of the driver is followed, and how; the warping family can do it (`model.preset: warping`)."""

    follow: Literal["all", "expression_only", "head_only"] = Field(
        default="all",
        description="all; expression_only: the person's own head pose, the driver's expression; head_only: the "
        "driver's head, the person's own expression. Warping family.",
    )
    gains: GainSettings = Field(default=GainSettings(), description="How far each part follows. Warping family.")
    relative: bool = Field(
        default=False,
        description="Add the driver's change from its neutral frame, found by itself, to the person's own face. "
        "Warping family.",
    )
    retarget: list[Literal["eyes", "lips"]] = Field(
        default=[],
        description="Openings that are scaled to the person's own range: eyes (lids close when the driver's do), lips. "
        "Warping family.",
    )
    controls: dict[str, float] = Field(
        default={},
        description="Moves on top of the driver's: name -> how far, such as {smile: 0.5, yaw: 10}; "
        "`python -m workflow_scripts.edit --list` names them. Warping family.",
    )

    def group_gains(self) -> dict[str, float]:
        """Gain of each group, with `follow`."""
        still = {"all": (), "expression_only": ("head",), "head_only": ("mouth", "eyes", "brows")}[self.follow]
        return self.gains.model_dump() | dict.fromkeys(still, 0.0)


class PoseFilterSettings(PoseEditSettings):
    """What is done to the driver's pose descriptors on their way to the generator."""

    smoothing: Literal["none", "one_euro", "savgol"] = Field(
        default="none",
        description="none; one_euro: calm where the motion is slow, prompt where it is fast; savgol: Savitzky-Golay, "
        "without a delay of its own.",
    )
    cutoff: float = Field(
        default=2.0, gt=0, description="one_euro: cutoff frequency of a still pose, Hz; lower is calmer."
    )
    beta: float = Field(
        default=1.0,
        ge=0,
        description="one_euro: how much the cutoff rises with speed, Hz per standard deviation of the driver's poses "
        "per second.",
    )
    window: int = Field(default=9, ge=3, le=301, description="savgol: frames that each pose is fitted over, odd.")
    order: int = Field(
        default=2, ge=0, le=5, description="savgol: degree of the fitted polynomial, less than the window."
    )
    intensity: float = Field(
        default=1.0, ge=0, le=3, description="Strength of the motion: poses are scaled about the driver's mean pose."
    )

    @field_validator("window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError("must be odd: as many frames before as after")
        return window

    @field_validator("order")
    @classmethod
    def _below_window(cls, order: int, info: ValidationInfo) -> int:
        if order >= info.data.get("window", order + 1):
            raise ValueError(f"must be below the window ({info.data['window']} frames)")
        return order


class RenderSettings(Section):
    """The videos of each avatar and driver."""

    section: ClassVar[str] = "render"

    outputs: list[Output] = Field(
        default=["avatar", "side_by_side"],
        min_length=1,
        description="Any of avatar (.mp4), side_by_side (.mp4: the person, the driver, the avatar), alpha "
        "(transparent video), frames (folder of PNGs with alpha and times.csv), on_background (.mp4), "
        "pasted (.mp4: in the driver's frame).",
    )
    height: EvenHeight = Field(
        default=256, ge=64, le=2160, description="Height of the videos, px, even; frames are enlarged to it."
    )
    batch_size: int = Field(default=8, ge=1, description="Frames in one batch.")
    precision: DrivingPrecision = Field(
        default="auto",
        description="What the network that draws computes in; auto: bf16 where the machine has instructions for it, "
        "else fp32.",
    )
    encoder: Encoder = Field(
        default="libx264",
        description="Encoder of the .mp4 files; nvenc, videotoolbox, qsv and amf need their hardware.",
    )
    crf: int = Field(default=16, ge=0, le=51, description="Quality of the encoder, 0 best to 51 worst.")
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = Field(
        default="medium", description="Speed of the encoder against file size."
    )
    pix_fmt: Literal["yuv420p", "yuv444p", "yuv420p10le"] = Field(
        default="yuv420p", description="Pixel format of the .mp4 files; only yuv420p plays everywhere."
    )
    alpha: Literal["prores", "vp9"] = Field(
        default="prores",
        description="Transparent video: prores (4444, .mov, for editors) or vp9 (.webm, for browsers).",
    )
    background: str = Field(
        default="#00b140",
        description='Behind on_background: "#rrggbb", an image, or a video (repeated where it is shorter).',
    )
    feather: float = Field(
        default=0.08,
        ge=0,
        le=0.5,
        description="Width of the soft seam of `pasted`, as a fraction of the square's side.",
    )
    audio: str = Field(
        default="driver", min_length=1, description="Sound of the videos: driver, none, or a file, from its beginning."
    )
    pose: PoseFilterSettings = Field(default=PoseFilterSettings(), description="Filter of the driver's motion.")

    @field_validator("outputs")
    @classmethod
    def _once(cls, outputs: list[str]) -> list[str]:
        if len(set(outputs)) < len(outputs):
            raise ValueError("names an output twice")
        return outputs

    @field_validator("background")
    @classmethod
    def _colour(cls, background: str) -> str:
        if background.startswith("#") and not re.fullmatch(r"#[0-9a-fA-F]{6}", background):
            raise ValueError('is no colour; write "#rrggbb" (in quotes), or the path of an image or video')
        return background

    def targets(self, stem: str) -> dict[str, str]:
        """Output -> its path; `stem` is the path without suffix. `frames` is a folder, the others are files."""
        suffixes = {
            "avatar": ".mp4",
            "side_by_side": ".side_by_side.mp4",
            "alpha": ".alpha.mov" if self.alpha == "prores" else ".alpha.webm",
            "frames": ".frames",
            "on_background": ".on_background.mp4",
            "pasted": ".pasted.mp4",
        }
        return {output: stem + suffixes[output] for output in self.outputs}

    def sidecars(self, stem: str) -> dict[str, str]:
        """Output -> the file with its credentials, for those that cannot carry them themselves."""
        targets = self.targets(stem)
        return {output: path + ".c2pa" for output, path in targets.items() if path.endswith((".frames", ".webm"))}

    def files(self) -> dict[str, Path]:
        """Setting -> the file that it names and that rendering reads."""
        found = {}
        if "on_background" in self.outputs and not self.background.startswith("#"):
            found["background"] = Path(self.background)
        if self.audio not in ("driver", "none"):
            found["audio"] = Path(self.audio)
        return found
