"""Reading videos and photos: upright RGB frames with their exact presentation times, one at a time.

Memory does not grow with the length of the media: a frame is converted to pixels only when asked for,
at the size asked for, and nothing is kept.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from PIL import Image, ImageOps

from reenact.errors import UserError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

# What Pillow raises for a damaged picture: OSError mostly, SyntaxError and ValueError from some formats.
_DAMAGED_PHOTO = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# Transparent pixels become mid-grey: dark and fair hair both stand out against it.
_BEHIND_TRANSPARENCY = (128, 128, 128)


@dataclass(frozen=True)
class Media:
    """What is known about media before its frames are read.

    Attributes:
        path: the file or folder.
        kind: "video", or "photos" (one image or a folder of images).
        width, height: of the first frame as it is shown (upright, square pixels), px.
        fps: average frame rate, 1/s; None for photos.
        duration: of the video as its header states it, s; None if unknown, 0 for photos.
        audio: whether there is sound.
        files: the photos in order of their names; empty for a video.
        steps: what reading does to the pictures, in words.
    """

    path: Path
    kind: Literal["video", "photos"]
    width: int
    height: int
    fps: float | None = None
    duration: float | None = 0.0
    audio: bool = False
    files: tuple[Path, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """One frame of the media, not yet converted to pixels.

    Attributes:
        index: number of the frame in presentation order, from 0; of a photo its number among the sorted files.
        time: presentation time as the file states it (it need not start at 0), s; 0 for photos.
        duration: how long the file says it is shown, s; None if it does not, 0 for photos.
        width, height: as shown (upright, square pixels), px.
    """

    index: int
    time: float
    duration: float | None
    width: int
    height: int
    _picture: Any = field(repr=False)
    _turns: int = 0

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """The frame as uint8 RGB, H x W x 3; scaled down so that its longer side is at most `longest` px."""
        width, height = _fitted(self.width, self.height, longest)
        if isinstance(self._picture, np.ndarray):
            return self._picture if width == self.width else cv2.resize(self._picture, (width, height), interpolation=cv2.INTER_AREA)
        return self._converted(width, height, "rgb24")

    def grey(self, height: int) -> np.ndarray:
        """The frame as uint8 grey, H x W, at most `height` px high."""
        share = min(1.0, height / self.height)
        size = max(1, round(self.width * share)), max(1, round(self.height * share))
        if isinstance(self._picture, np.ndarray):
            return cv2.resize(cv2.cvtColor(self._picture, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        return self._converted(*size, "gray")

    def _converted(self, width: int, height: int, pixel_format: str) -> np.ndarray:
        frame = self._picture
        if self._turns % 2:
            width, height = height, width
        # Untagged files follow the players' convention: BT.709 from 720 lines on, BT.601 below.
        untagged = int(frame.colorspace) == 2 and frame.height >= 720
        scaled = frame.reformat(
            width, height, pixel_format,
            src_colorspace="ITU709" if untagged else None,
            interpolation="AREA" if width * height < frame.width * frame.height else "BICUBIC",
        )
        return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), self._turns))


def probe(path: Path) -> Media:
    """Find out what `path` is; the first frame is read to make sure that it can be.

    Raises:
        UserError: it is missing, empty, neither video nor image, or a folder without images.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_dir() or path.suffix.lower() in PHOTO_SUFFIXES:
        return _probe_photos(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy or download it again")
    return _probe_video(path)


def read_frames(media: Media, damage: list[str] | None = None) -> Iterator[Frame]:
    """Yield the frames in presentation order, upright, each later than the one before (photos: all at 0).

    Args:
        media: from `probe`.
        damage: gets one line for every damaged frame or photo, which is left out, and for a broken end.

    Raises:
        UserError: not one frame can be used.
    """
    damage = [] if damage is None else damage
    frames = _read_photos(media, damage) if media.kind == "photos" else _read_video(media, damage)
    count = 0
    for frame in frames:
        count += 1
        yield frame
    if not count:
        raise UserError(f"{media.path}: no frame can be decoded ({damage[0] if damage else 'the file has none'})")


def scan_duration(media: Media) -> float:
    """Duration of a video whose header does not state it, s: read off its packets, without decoding."""
    with _opened(media.path) as container:
        stream = container.streams.best("video")
        spans = [
            (packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base)
            for packet in container.demux(stream) if packet.pts is not None
        ]
    return float(max(start + span for start, span in spans) - min(spans)[0]) if spans else 0.0


def _fitted(width: int, height: int, longest: int | None) -> tuple[int, int]:
    share = 1.0 if longest is None else min(1.0, longest / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


# ---- videos -------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The container, with a video stream for sure; ffmpeg's errors become messages."""
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        # The names of files are given to ffmpeg as they are; what it says about them starts with "[Errno ..]".
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)).split(":")[0]
        raise UserError(f"{path}: neither a video nor an image that ffmpeg can read ({reason})") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path}: has no pictures, only {', '.join(s.type for s in container.streams) or 'nothing'}")
        yield container


def _probe_video(path: Path) -> Media:
    with _opened(path) as container:
        stream = container.streams.best("video")
        duration = None
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        rate = stream.average_rate
        audio = bool(container.streams.audio)
        aspect = stream.sample_aspect_ratio
    media = Media(path, "video", 0, 0, float(rate) if rate else None, duration, audio)
    damage: list[str] = []
    first = next(_read_video(media, damage), None)
    if first is None:
        raise UserError(f"{path}: no frame can be decoded ({damage[0] if damage else 'the file has none'})")
    steps = [f"rotated by {first._turns * 90} degrees counterclockwise (metadata)"] if first._turns else []
    if aspect and aspect != 1:
        steps.append(f"pixels made square (they are {aspect.numerator}:{aspect.denominator})")
    return Media(path, "video", first.width, first.height, media.fps, duration, audio, (), tuple(steps))


def _read_video(media: Media, damage: list[str]) -> Iterator[Frame]:
    with _opened(media.path) as container:
        stream = container.streams.best("video")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 2  # more would only hold more frames in memory
        aspect = float(stream.sample_aspect_ratio or 1)
        first, last, index = 0.0, None, 0
        for picture in _decoded(container, stream, damage):
            time = picture.time
            if time is None:  # a few old AVI files: no times, only a rate
                time = 0.0 if last is None else last + 1 / (media.fps or 25.0)
            if last is not None and time <= last:
                damage.append(f"frame after {last:.3f} s: its time {time:.3f} s is not later")
                continue
            turns = round(picture.rotation / 90) % 4
            width, height = max(1, round(picture.width * aspect)), picture.height
            if turns % 2:
                width, height = height, width
            span = float(picture.duration * picture.time_base) if picture.duration and picture.time_base else None
            yield Frame(index, float(time), span, width, height, picture, turns)
            first = time if last is None else first
            last, index = time, index + 1
        # Some containers simply end where they were cut off. Half a second is left to sound that outlasts the pictures.
        if last is not None and media.duration and last - first < 0.98 * media.duration - 0.5:
            damage.append(f"the pictures end after {last - first:.2f} s, though the file's header says {media.duration:.2f} s")


def _decoded(container: Any, stream: Any, damage: list[str]) -> Iterator[Any]:
    """Frames as the decoder gives them; what is damaged is noted and left out."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            damage.append(f"reading stops early ({error})")
            packet = None
        try:
            pictures = stream.codec_context.decode(packet)
        except av.error.EOFError:
            pictures = []  # the flush at the end was done already
        except av.error.FFmpegError as error:
            where = f"{float(packet.pts * packet.time_base):.3f} s" if packet is not None and packet.pts is not None else "the end"
            damage.append(f"frame at {where} ({error})")
            pictures = []
        for picture in pictures:
            if picture.is_corrupt:
                damage.append(f"frame at {picture.time} s (decoded with errors)")
            else:
                yield picture
        if packet is None:
            return


# ---- photos -------------------------------------------------------------------------------------------------


def _probe_photos(path: Path) -> Media:
    if path.is_dir():
        files = tuple(sorted(f for f in path.iterdir() if f.suffix.lower() in PHOTO_SUFFIXES and not f.name.startswith(".")))
        if not files:
            raise UserError(f"{path}: no images in this folder (known: {', '.join(PHOTO_SUFFIXES)})")
    else:
        files = (path,)
    damage: list[str] = []
    for file in files:
        photo = _read_photo(file, damage)
        if photo is not None:
            pixels, steps = photo
            return Media(path, "photos", pixels.shape[1], pixels.shape[0], files=files, steps=tuple(steps))
    raise UserError(f"{path}: no image can be read ({damage[0]})")


def _read_photos(media: Media, damage: list[str]) -> Iterator[Frame]:
    for index, file in enumerate(media.files):
        photo = _read_photo(file, damage)
        if photo is not None:
            height, width = photo[0].shape[:2]
            yield Frame(index, 0.0, 0.0, width, height, photo[0])


def _read_photo(file: Path, damage: list[str]) -> tuple[np.ndarray, list[str]] | None:
    """Upright uint8 RGB pixels and what was done to get them; None (and a line of damage) if it cannot be read."""
    steps = []
    try:
        with Image.open(file) as image:
            if image.getexif().get(0x0112, 1) != 1:
                steps.append("turned upright (EXIF orientation)")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits a channel: Pillow's own conversion clips instead of scaling
                upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
                steps.append("reduced from 16 to 8 bits")
            if "A" in upright.getbands() or "transparency" in upright.info:
                behind = Image.new("RGBA", upright.size, (*_BEHIND_TRANSPARENCY, 255))
                upright = Image.alpha_composite(behind, upright.convert("RGBA"))
                steps.append("transparency filled with grey")
            if upright.mode in ("CMYK", "L", "LA"):
                steps.append(f"converted from {upright.mode} to RGB")
            return np.array(upright.convert("RGB")), steps
    except _DAMAGED_PHOTO as error:
        damage.append(f"{file.name}: {error}")
        return None
