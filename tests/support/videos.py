"""Videos made for tests: noise, and real heads that move over a background on known ways."""

import re
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np


def ffmpeg(*arguments: object) -> str:
    """Run the ffmpeg binary of the wheel imageio-ffmpeg, in one thread; returns what it says."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-y", "-threads", "1", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stderr


def stated_times(path: Path) -> list[float]:
    """Presentation times of the frames of a video as ffmpeg's own program reads them, s."""
    said = ffmpeg(
        "-copyts",
        "-i",
        path,
        "-map",
        "0:v:0",
        "-vf",
        "showinfo=checksum=0",
        "-fps_mode",
        "passthrough",
        "-f",
        "null",
        "-",
    )
    base = Fraction(re.search(r"config in time_base: (\S+),", said)[1])
    return [float(int(pts) * base) for pts in re.findall(r" n: *\d+ pts: *(-?\d+) ", said)]


def write_video(path: Path, images: Sequence[np.ndarray], times: Sequence[float] | None = None, rate: int = 25) -> Path:
    """Encode uint8 RGB images, at the given times (s) or at a constant rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = round((number / rate if times is None else times[number]) * 90000)
            frame.time_base = Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A soft random pattern, uint8 H x W x 3, mid-grey and brighter (nowhere near black)."""
    noise = np.random.default_rng(seed).normal(size=(height // 8 + 2, width // 8 + 2, 3))
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(150 + 25 * large, 90, 230).astype(np.uint8)


def moving(count: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    """A pattern that moves by 3 px a frame."""
    wide = texture(height, width + 3 * count, 7)
    return [np.ascontiguousarray(wide[:, 3 * n : 3 * n + width]) for n in range(count)]


def plain_video(folder: Path) -> Path:
    """Two seconds of a moving pattern: 25 frames/s, H.264, B-frames, a key frame each half second, index in front."""
    whole = write_video(folder / "whole.mp4", moving(50))
    ffmpeg("-i", whole, "-c:v", "libx264", "-g", 12, "-bf", 2, "-movflags", "faststart", folder / "plain.mp4")
    return folder / "plain.mp4"


def place_head(canvas: np.ndarray, head: np.ndarray, x: float, y: float, width: float) -> np.ndarray:
    """Paste a picture of a head with soft edges, its middle at (x, y) px and `width` px wide."""
    scale = width / head.shape[1]
    matrix = np.array([[scale, 0, x - width / 2], [0, scale, y - head.shape[0] * scale / 2]])
    rows, columns = np.mgrid[: head.shape[0], : head.shape[1]]
    edge = np.minimum.reduce([rows, columns, head.shape[0] - 1 - rows, head.shape[1] - 1 - columns])
    soft = np.clip(edge / 12, 0, 1).astype(np.float32)
    size = canvas.shape[1::-1]
    alpha = cv2.warpAffine(soft, matrix, size)[..., None]
    moved = cv2.warpAffine(head, matrix, size, flags=cv2.INTER_AREA)
    return (canvas * (1 - alpha) + moved * alpha).astype(np.uint8)
