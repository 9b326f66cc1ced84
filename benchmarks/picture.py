"""Write docs/demo.gif, the moving picture of the README, from the demo: python benchmarks/picture.py

From left to right: the driver, drawn as outlines of its landmarks; the avatar of the same woman, whose other frames it
was made from; a photo; the avatar made from that one photo. All frames are of a stretch that no training saw.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reenact.data.clip import Clip
from reenact.media.probe import probe, read_frames
from reenact.runtime.files import atomic_write

DRIVER, VIDEO_AVATAR, PHOTO_AVATAR = "pexels_held_out", "pexels_woman", "astronaut"
SIDE = 192
"""Of each panel, px."""
FRAMES_A_SECOND = 12
COLOURS = 256
MAX_SIZE = 3_000_000
"""Largest size of the file, bytes."""
# First and last + 1 of the 68 landmarks of each part of the face, and whether its outline closes.
PARTS = [
    (0, 17, False),
    (17, 22, False),
    (22, 27, False),
    (27, 31, False),
    (31, 36, False),
    (36, 42, True),
    (42, 48, True),
    (48, 60, True),
    (60, 68, True),
]


def panels(results: Path, start: float, end: float) -> list[np.ndarray]:
    """The pictures of the animation between two times of the driver, s: uint8 RGB, SIDE x 4 SIDE."""
    driver = Clip(results / "clips" / DRIVER / "crops.zip")
    times, landmarks = driver.table["time"].to_numpy(), driver.landmarks()
    wanted = np.arange(start, min(end, times[-1]), 1 / FRAMES_A_SECOND)
    rows = np.abs(times[None] - wanted[:, None]).argmin(1)
    avatars = [video(results / "renders" / name / f"{DRIVER}.mp4", rows) for name in (VIDEO_AVATAR, PHOTO_AVATAR)]
    crops = Clip(results / "clips" / PHOTO_AVATAR / "crops.zip")
    photo = panel(crops.image(crops.table["image"].iloc[0]))
    return [
        np.hstack([outline(landmarks[row], SIDE), woman, photo, astronaut])
        for row, woman, astronaut in zip(rows, *avatars, strict=True)
    ]


def video(path: Path, rows: np.ndarray) -> list[np.ndarray]:
    """Frames of a video by number, as panels."""
    shown = {number: panel(frame.pixels()) for number, frame in enumerate(read_frames(probe(path))) if number in rows}
    return [shown[row] for row in rows]


def outline(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Landmarks 68 x 2, as shares of the side, drawn in place of a frame that may not be shown: RGB size x size."""
    picture = np.full((320, 320, 3), 24, np.uint8)
    for first, last, closed in PARTS:
        points = (landmarks[first:last] * 320 * 16).round().astype(np.int32)
        cv2.polylines(picture, [points], closed, (190, 205, 220), 2, cv2.LINE_AA, shift=4)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def panel(picture: np.ndarray) -> np.ndarray:
    """A square RGB picture at the size of a panel."""
    shrink = picture.shape[0] > SIDE
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


def write_gif(pictures: list[np.ndarray], path: Path) -> None:
    """Write an animation that starts again, with one palette for all pictures."""
    sample = Image.fromarray(np.vstack(pictures[:: max(1, len(pictures) // 12)]))
    palette = sample.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    with atomic_write(path) as temporary:
        duration = 1000 // FRAMES_A_SECOND
        frames[0].save(temporary, optimize=True, save_all=True, append_images=frames[1:], duration=duration, loop=0)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="of the demo (default: results)")
    parser.add_argument("--picture", type=Path, default=Path("docs/demo.gif"), help="default: docs/demo.gif")
    parser.add_argument("--start", type=float, default=2.0, help="first time of the driver, s (default: 2)")
    parser.add_argument("--end", type=float, default=7.8, help="last time of the driver, s (default: 7.8)")
    arguments = parser.parse_args()
    pictures = panels(arguments.results, arguments.start, arguments.end)
    write_gif(pictures, arguments.picture)
    size = arguments.picture.stat().st_size
    print(f"{arguments.picture}: {len(pictures)} frames, {size:,} bytes")
    if size > MAX_SIZE:
        raise SystemExit(
            f"error: {arguments.picture} has more than {MAX_SIZE:,} bytes; shorten it with --start and --end"
        )


if __name__ == "__main__":
    main()
