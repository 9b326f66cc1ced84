"""From a decoded video frame to pixels: reduced, in the colours of a screen, over grey, and upright."""

import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from reenact.media.colour import LEVELS, MATRICES, Colours, to_rgb, to_screen

# Transparent pixels become mid-grey: dark and fair hair both stand out against it.
BEHIND_TRANSPARENCY = 128
TRANSPARENCY = f"transparency filled with grey ({BEHIND_TRANSPARENCY}, {BEHIND_TRANSPARENCY}, {BEHIND_TRANSPARENCY})"

# Formats whose planes are used as they are; others are repacked without loss where they are YUV, else made RGB by
# ffmpeg.
_PLANAR = re.compile(r"yuv[aj]?4\d\dp(?:(\d+)le)?")
_REPACKED = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "p410le": "yuv444p10le",
    "y210le": "yuv422p10le",
    "p012le": "yuv420p12le",
    "uyyvyy411": "yuv411p",
}
_EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
# ffmpeg's numbers (H.273) of transfer functions, and of what says nothing.
_PQ, _HLG, _UNSPECIFIED, _BT2020 = 16, 18, 2, 9
_FULL_RANGE = 2


@dataclass(frozen=True)
class Turn:
    """How a stored picture becomes upright: first rows and columns change places, then it is mirrored."""

    transposed: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The picture upright; H x W (x 3)."""
        if self.transposed:
            image = cv2.transpose(image)
        if self.mirror_x or self.mirror_y:
            image = cv2.flip(image, -1 if self.mirror_x and self.mirror_y else int(self.mirror_x))
        return image

    @property
    def step(self) -> str:
        """What it does, in words; empty if nothing."""
        degrees = {(False, True, True): 180, (True, False, True): 90, (True, True, False): 270}.get(
            (self.transposed, self.mirror_x, self.mirror_y)
        )
        if degrees:
            return f"rotated by {degrees} degrees counterclockwise (metadata)"
        return "mirrored (metadata)" if self != Turn() else ""


def turn_of(frame: Any) -> Turn:
    """The turn that the file asks for by its display matrix; to the nearest quarter."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Turn()
    right, down = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2].astype(float)
    # Row i of the matrix says where a step along the stored axis i leads on the screen.
    if abs(right[0]) + abs(down[1]) >= abs(right[1]) + abs(down[0]):
        return Turn(False, bool(right[0] < 0), bool(down[1] < 0))
    return Turn(True, bool(down[0] < 0), bool(right[1] < 0))


def describe(frame: Any) -> "Layout":
    """How a frame stores its pixels."""
    return _layout(
        frame.format.name,
        frame.height,
        int(frame.colorspace),
        int(frame.color_range),
        int(frame.color_trc),
        int(frame.color_primaries),
    )


@dataclass(frozen=True)
class Layout:
    """How frames store their pixels.

    Attributes:
        planar: whether it is planes of luma and two chromas (and alpha).
        repack: what ffmpeg makes of the frame first; '' = nothing.
        alpha: whether there is transparency.
        colours: of luma and chroma.
    """

    planar: bool
    repack: str
    alpha: bool
    colours: Colours


@lru_cache
def _layout(name: str, height: int, matrix: int, color_range: int, transfer: int, primaries: int) -> Layout:
    repack = _REPACKED.get(name, "")
    planar = _PLANAR.fullmatch(repack or name)
    full = color_range == _FULL_RANGE or name.startswith("yuvj")
    kind: Literal["sdr", "pq", "hlg"] = "pq" if transfer == _PQ else "hlg" if transfer == _HLG else "sdr"
    if kind != "sdr" and primaries == _UNSPECIFIED:
        primaries = _BT2020
    if matrix not in MATRICES:
        # Untagged files follow the players' convention: BT.709 from 720 lines on, BT.601 below and in JPEG.
        matrix = _BT2020 if primaries == _BT2020 else 1 if height >= 720 and not name.startswith("yuvj") else 5
    bits = int(planar[1] or 8) if planar else 16
    alpha = bool(re.search(r"yuva|rgba|bgra|argb|abgr|gbrap|ya8|ya16|pal8", name))
    colours = Colours(matrix, full, bits, kind, primaries)
    if not planar:
        repack = "rgb48le" if colours.mapped else "rgba" if alpha else "rgb24"
    return Layout(bool(planar), repack, alpha, colours)


class Workspace(threading.local):
    """Memory that the pictures of one video share while they are converted: fresh memory costs more time than the work.

    Each thread has its own, since stage `crop` converts several pictures at once.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._reformatters: dict[str, VideoReformatter] = {}

    def array(self, name: str, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
        """An array of any content; the one of the last call of this name, if it fits."""
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape or kept.dtype != kind:
            kept = self._arrays[name] = np.empty(shape, kind)
        return kept

    def converted(self, frame: Any, pixels: str) -> Any:
        """The frame in another pixel format, by ffmpeg; exact, with chroma interpolated."""
        reformatter = self._reformatters.setdefault(pixels, VideoReformatter())
        return reformatter.reformat(frame, format=pixels, interpolation=_EXACT, threads=1)


class VideoPicture:
    """A decoded frame that becomes pixels when asked."""

    __slots__ = ("_frame", "_layout", "_turn", "_workspace")

    def __init__(self, frame: Any, layout: Layout, turn: Turn, workspace: Workspace) -> None:
        self._frame, self._layout, self._turn, self._workspace = frame, layout, turn, workspace

    @property
    def steps(self) -> list[str]:
        """What is done to the picture, in words."""
        depth = (
            ""
            if self._layout.colours.mapped or not self._layout.planar or self._layout.colours.bits == 8
            else f"reduced from {self._layout.colours.bits} to 8 bits"
        )
        transparency = TRANSPARENCY if self._layout.alpha else ""
        return [step for step in (self._turn.step, self._layout.colours.step, depth, transparency) if step]

    @property
    def nbytes(self) -> int:
        """Memory of the decoded frame."""
        return sum(plane.buffer_size for plane in self._frame.planes)

    def rgb(self, width: int, height: int) -> np.ndarray:
        """uint8 RGB, height x width x 3, upright; `width` and `height` are those of the upright picture, px."""
        if self._turn.transposed:
            width, height = height, width
        if self._layout.alpha:
            # Blended before it is reduced, or hidden colours would shine through at the edges.
            image = resized(self._over_grey(), width, height)
        elif self._layout.planar:
            image = self._from_planes(width, height)
        else:
            image = resized(self._from_ffmpeg(), width, height)
        return self._turn(image)

    def luma(self, width: int, height: int) -> np.ndarray:
        """uint8 brightness as stored, height x width, upright."""
        if self._turn.transposed:
            width, height = height, width
        if not self._layout.planar:
            return self._turn(resized(self._workspace.converted(self._frame, "gray").to_ndarray(), width, height))
        luma = resized(_plane(self._repacked(), 0), width, height)
        if luma.dtype != np.uint8:
            luma = (luma >> (self._layout.colours.bits - 8)).astype(np.uint8)
        return self._turn(luma)

    def _repacked(self) -> Any:
        return self._workspace.converted(self._frame, self._layout.repack) if self._layout.repack else self._frame

    def _from_planes(self, width: int, height: int) -> np.ndarray:
        frame = self._repacked()
        planes = []
        for number in range(3):
            plane = _plane(frame, number)
            planes.append(
                resized(plane, width, height, self._workspace.array(str(number), (height, width), plane.dtype))
            )
        luma, blue, red = planes
        return to_rgb(
            luma, blue, red, self._layout.colours, self._workspace.array("planes", (height, width, 3), plane.dtype)
        )

    def _from_ffmpeg(self) -> np.ndarray:
        layout = self._layout
        image = self._repacked().to_ndarray()
        if layout.repack == "rgb48le":
            return to_screen(np.minimum(image >> 4, LEVELS - 1), layout.colours.transfer, layout.colours.primaries)
        return image

    def _over_grey(self) -> np.ndarray:
        if self._layout.planar:
            frame = self._repacked()
            image = self._from_planes(frame.width, frame.height)
            alpha = _plane(frame, 3) / np.float32((1 << self._layout.colours.bits) - 1)
        else:
            image = self._workspace.converted(self._frame, "rgba").to_ndarray()
            image, alpha = image[..., :3], image[..., 3] / np.float32(255)
        return np.rint(BEHIND_TRANSPARENCY + (image - np.float32(BEHIND_TRANSPARENCY)) * alpha[..., None]).astype(
            np.uint8
        )


def resized(image: np.ndarray, width: int, height: int, into: np.ndarray | None = None) -> np.ndarray:
    """A picture in another size: area means where it gets smaller, else linear (chroma, pixels that are not square)."""
    if image.shape[1] == width and image.shape[0] == height:
        return image
    smaller = width <= image.shape[1] and height <= image.shape[0]
    return cv2.resize(image, (width, height), into, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _plane(frame: Any, number: int) -> np.ndarray:
    """A view of one plane: uint8, or uint16 of more than 8 bits, height x width."""
    plane = frame.planes[number]
    kind = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else "<u2")
    # Some AVI files store their rows from bottom to top.
    start = (plane.height - 1) * -plane.line_size if plane.line_size < 0 else 0
    return np.ndarray((plane.height, plane.width), kind, plane, start, (plane.line_size, kind.itemsize))
