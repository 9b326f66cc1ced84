"""How fast is preprocessing? decode + crop + segment of a 512 x 512 clip: python benchmarks/preprocess.py

All figures come from one run, because only their ratios mean something on another machine:

- the stages, called one after the other as Snakemake calls them for one clip on 2 cores, each with 2 threads; and with
  one;
- the libraries alone, on one core: loading networks, decoding (once, and the pass more that stage decode takes), the
  detector's and the face mesh's networks, OpenCV's warp and padding, deflate, and segmentation, of pictures of the very
  sizes that the stages use;
- a straightforward loop, as it would be written from the manual of OpenCV: all frames to JPEG files; each file read,
  one face found by the networks, the square around it padded by reflection, reduced and written; each of those read,
  segmented and its matte written. It does less than the stages: no exact times, no second face, no tracking, nothing
  smoothed over time, nothing faded, crops of pictures that JPEG has blurred, landmarks thrown away. Twice: with crops
  as PNG files, without loss as the stages' are, and as JPEG files, as the published layout has them. And once with what
  each step of the stages does to a frame by itself in its place: all faces found, the square to fractions of a pixel
  and faded where it is padded, doubtful mattes asked for twice.

Each figure is the mean of several rounds, which take turns: whatever else the machine does disturbs all alike. (The
best of them would favour short laps.) Time of cores is that of the whole process. OpenCV has its own threads in the
loop, as by default. It makes its clip from the demo's woman, in a temporary folder, and writes nothing else.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import imageio_ffmpeg
import numpy as np
from isal import isal_zlib

from reenact.data.clip import Clip
from reenact.faces.blaze_face import BlazeFace
from reenact.faces.crop_pixels import crop_square
from reenact.faces.face_mesh import FaceMesh
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.faces.square import box_square
from reenact.matting.segmenters import MediapipeSegmenter
from reenact.matting.selfie import Selfie
from reenact.media.frame_table import Stretch
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip
from reenact.stages.segment import segment_clip

WOMAN = Path("resources/media/WolfgangLanger_Pexels.mp4")
CORES = 2
SIZE = CropSettings().size
AGAIN = "decode once more (PyAV)"


@dataclass
class Lap:
    """What one part took: seconds by the clock and of all cores together, and the frames that it worked on."""

    name: str
    wall: float
    cpu: float
    frames: int


def lap(name: str, frames: int, work: Callable[[], object]) -> Lap:
    """Time `work`."""
    clock, cores = time.perf_counter(), time.process_time()
    work()
    return Lap(name, time.perf_counter() - clock, time.process_time() - cores, frames)


def make_clip(source: Path, target: Path, frames: int) -> None:
    """The woman's head and shoulders, 512 x 512, H.264."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-stream_loop", "-1", "-i", str(source)]
    picture = ["-vf", "crop=360:360:240:0,scale=512:512:flags=lanczos", "-frames:v", str(frames)]
    subprocess.run(
        [*ffmpeg, *picture, "-an", "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", str(target)], check=True
    )


def run_stages(media: Path, folder: Path, frames: int, threads: int = CORES) -> list[Lap]:
    """The three stages of one clip, one after the other."""
    table, facts, crops, mattes = (folder / name for name in ("frames.csv", "source.json", "crops.zip", "mattes.zip"))
    return [
        lap(
            "decode",
            frames,
            lambda: decode_clip(
                media=media,
                frames=table,
                source=facts,
                role="driver",
                stretch=Stretch(),
                settings=DecodeSettings(),
                threads=threads,
            ),
        ),
        lap(
            "crop",
            frames,
            lambda: crop_clip(media=media, frames=table, crops=crops, settings=CropSettings(), threads=threads),
        ),
        lap(
            "segment",
            frames,
            lambda: segment_clip(crops=crops, mattes=mattes, settings=SegmentSettings(), threads=threads),
        ),
    ]


def decoded(media: Path) -> Iterable[Any]:
    """All frames as they are stored."""
    with av.open(str(media)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        yield from container.decode(video=0)


def pictures(media: Path) -> Iterable[np.ndarray]:
    """All frames, RGB."""
    for frame in decoded(media):
        yield frame.to_ndarray(format="rgb24")


def cut_out(frame: np.ndarray, side: float) -> np.ndarray:
    """OpenCV's part of a crop: reduce the frame, reflect its borders, sample the square, average if not reduced."""
    reduce = max(1, int(side / SIZE))
    if reduce > 1:
        frame = cv2.resize(frame, None, fx=1 / reduce, fy=1 / reduce, interpolation=cv2.INTER_AREA)
    side /= reduce
    pad, fine = (
        math.ceil(max(0, side - min(frame.shape[:2])) / 2) + 4,
        SIZE * (1 if reduce > 1 else math.ceil(side / SIZE)),
    )
    padded = cv2.copyMakeBorder(frame, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    matrix = np.array([[side / fine, 0, 0.3], [0, side / fine, 0.3]])
    square = cv2.warpAffine(padded, matrix, (fine, fine), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return square if fine == SIZE else cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def differences(image: np.ndarray) -> np.ndarray:
    """What PNG compresses, with its filter "up"."""
    return np.diff(image.reshape(len(image), -1), axis=0, prepend=np.zeros((1, image[0].size), np.uint8))


def run_libraries(media: Path, crops: Path, mattes: Path) -> list[Lap]:
    """The libraries alone, on one core, each doing once what cannot be avoided, on pictures of the stages' sizes."""
    cv2.setNumThreads(1)
    frames = list(pictures(media))
    clip, masks = Clip(crops), Clip(mattes)
    faces, side = clip.images(list(clip.table["image"])), float(clip.table["side"].median())
    rows, matte_rows = (
        [differences(face) for face in faces],
        [differences(matte) for matte in masks.images(list(masks.table["image"]))],
    )
    files = [isal_zlib.compress(row, 1) for row in rows]
    networks: list[Any] = []

    def load() -> None:
        """Open the networks."""
        networks.extend([BlazeFace("near", 0.5), FaceMesh(), Selfie(general=False)])

    loading = lap("load networks (LiteRT)", len(frames), load)
    near, mesh, selfie = networks

    def find(frame: np.ndarray) -> None:
        """Mesh of each face that the detector finds."""
        for box in near.find(frame):
            mesh.look(frame, box)

    return [
        lap(AGAIN, len(frames), lambda: [None for _ in decoded(media)]),
        loading,
        lap("decode to RGB (PyAV)", len(frames), lambda: [None for _ in pictures(media)]),
        lap("face mesh (LiteRT)", len(frames), lambda: [*map(find, frames)]),
        lap("cut out and resize (OpenCV)", len(frames), lambda: [cut_out(frame, side) for frame in frames]),
        lap("deflate crops (ISA-L)", len(faces), lambda: [isal_zlib.compress(row, 1) for row in rows]),
        lap("inflate crops (ISA-L)", len(faces), lambda: [isal_zlib.decompress(file) for file in files]),
        lap("segmentation (LiteRT)", len(faces), lambda: [selfie.matte(face)[0, 0] for face in faces]),
        lap("deflate mattes (ISA-L)", len(faces), lambda: [isal_zlib.compress(row, 1) for row in matte_rows]),
    ]


def run_loop(
    media: Path,
    folder: Path,
    frames: int,
    name: str,
    crops: Callable[[Path, Path], None],
    mattes_of: Callable[[Path, Path], None],
) -> list[Lap]:
    """The straightforward way: a file for every picture between any two steps."""
    cv2.setNumThreads(-1)
    raw, cut, mattes = (folder / name for name in ("raw", "cut", "mattes"))
    for place in (raw, cut, mattes):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    return [
        lap("frames to JPEG files", frames, lambda: frames_to_files(media, raw)),
        lap(name, frames, lambda: crops(raw, cut)),
        lap("mattes to PNG files", frames, lambda: mattes_of(cut, mattes)),
    ]


def frames_to_files(media: Path, raw: Path) -> None:
    """Of the straightforward loop."""
    video = cv2.VideoCapture(str(media))
    number, (there, frame) = 0, video.read()
    while there:
        cv2.imwrite(str(raw / f"{number:06d}.jpg"), frame)
        number, (there, frame) = number + 1, video.read()


def files_to_crops(raw: Path, cut: Path, suffix: str = ".png") -> None:
    """Of the straightforward loop; crops are written as files of `suffix`."""
    near, mesh = BlazeFace("near", 0.5), FaceMesh()
    for file in sorted(raw.iterdir()):
        image = cv2.imread(str(file))
        height, width = image.shape[:2]
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        boxes = near.find(rgb)
        points = mesh.look(rgb, boxes[0]) if boxes else None
        if points is None:
            continue
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        side = int(1.8 * max(right - left, bottom - top))
        x, y = int((left + right - side) / 2), int((top + bottom - side) / 2)
        pad = max(0, -x, -y, x + side - width, y + side - height)
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
        face = padded[y + pad : y + pad + side, x + pad : x + pad + side]
        cv2.imwrite(str(cut / f"{file.stem}{suffix}"), cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_AREA))


def files_to_same_crops(raw: Path, cut: Path) -> None:
    """Of the loop that makes the stages' crops, less what needs the frames around."""
    with FaceFinder() as finder:
        for file in sorted(raw.iterdir()):
            image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
            found = finder.find(image)
            if found:
                face = crop_square(image, box_square(found[0].box, 1.8), SIZE)
                cv2.imwrite(str(cut / f"{file.stem}.png"), cv2.cvtColor(face, cv2.COLOR_RGB2BGR))


def crops_to_same_mattes(cut: Path, mattes: Path) -> None:
    """Of the loop that makes the stages' mattes, less what needs the frames around."""
    with MediapipeSegmenter() as segmenter:
        for file in sorted(cut.iterdir()):
            face = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
            cv2.imwrite(str(mattes / f"{file.stem}.png"), (segmenter.mattes(face[None])[0] * 255).astype(np.uint8))


def crops_to_mattes(cut: Path, mattes: Path) -> None:
    """Of the straightforward loop."""
    selfie = Selfie(general=False)
    for file in sorted(cut.iterdir()):
        face = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        cv2.imwrite(str(mattes / f"{file.stem}.png"), (selfie.matte(face) * 255).astype(np.uint8))


def mean(rounds: list[list[Lap]]) -> list[Lap]:
    """Of each part, its mean times."""
    return [
        replace(same[0], wall=fmean(one.wall for one in same), cpu=fmean(one.cpu for one in same))
        for same in zip(*rounds, strict=True)
    ]


def total(laps: list[Lap], of: str = "wall") -> float:
    """Sum of their wall or cpu, s."""
    return sum(getattr(one, of) for one in laps)


def table(title: str, laps: list[Lap]) -> str:
    """Laps as text: one line each and their sum."""
    wall, cpu = total(laps), total(laps, "cpu")
    lines = [f"{title:30s} {'ms/frame':>9s} {'core ms':>9s} {'share':>6s} {'frames/s':>9s}"]
    for one in [*laps, Lap("together", wall, cpu, laps[0].frames)] if len(laps) > 1 else laps:
        each = one.wall / one.frames * 1000
        lines.append(
            f"  {one.name:28s} {each:9.2f} {one.cpu / one.frames * 1000:9.2f} {one.wall / wall:6.0%} {1000 / each:9.1f}"
        )
    return "\n".join(lines)


def measure(source: Path, frames: int, rounds: int) -> list[list[Lap]]:
    """Means over rounds: laps of the stages, of the stages with one thread, of the libraries, and of three loops."""
    loops: list[tuple[str, Callable[[Path, Path], None], Callable[[Path, Path], None]]] = [
        ("crops to PNG files", files_to_crops, crops_to_mattes),
        ("crops to JPEG files", partial(files_to_crops, suffix=".jpg"), crops_to_mattes),
        ("crops as the stages', to PNG", files_to_same_crops, crops_to_same_mattes),
    ]
    with tempfile.TemporaryDirectory(prefix="reenact-bench-") as name:
        folder = Path(name)
        media = folder / "woman.mp4"
        make_clip(source, media, frames)
        run_stages(media, folder, frames)  # loads what is loaded once
        found = [
            [
                run_stages(media, folder, frames),
                run_stages(media, folder, frames, threads=1),
                run_libraries(media, folder / "crops.zip", folder / "mattes.zip"),
                *(run_loop(media, folder, frames, *loop) for loop in loops),
            ]
            for _ in range(rounds)
        ]
    return [mean(list(kind)) for kind in zip(*found, strict=True)]


def show(frames: int, stages: list[Lap], single: list[Lap], libraries: list[Lap], *loops: list[Lap]) -> None:
    """Print the tables of `measure`, and the ratios."""
    again, alone = libraries[0], libraries[1:]
    print(f"512 x 512, {frames} frames, {CORES} cores, load {os.getloadavg()[0]:.1f}\n")
    print(table(f"stages, {CORES} threads", stages), "\n")
    print(table("stages, 1 thread", single), "\n")
    print(table("libraries alone, 1 core", alone))
    print(table("", [again]).split("\n")[1], "\n")
    for loop in loops:
        print(table("straightforward loop", loop), "\n")
    ours, work, least = total(stages), total(stages, "cpu"), total(alone, "cpu")
    print(f"decode + crop + segment        {frames / ours:.1f} frames/s")
    for name, seconds in (
        ("clock, 2 threads", ours),
        ("cores' time, 2 threads", work),
        ("cores' time, 1 thread", total(single, "cpu")),
    ):
        print(
            f"{name + ' / libraries':31s}{seconds / (least + again.cpu):.2f} with both passes of decoding, "
            f"{seconds / least:.2f} with one"
        )
    for loop in loops:
        print(
            f"faster than the loop           {total(loop) / ours:.2f} x (clock), "
            f"{total(loop, 'cpu') / work:.2f} x (cores' time), {loop[1].name}"
        )


def main() -> None:
    """Print the tables and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--media",
        type=Path,
        default=WOMAN,
        help=f"the woman's video, 640 x 360 (default: {WOMAN}; `snakemake {WOMAN}` fetches it)",
    )
    parser.add_argument("--frames", type=int, default=300, help="length of the clip (default: 300)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default: 3)")
    arguments = parser.parse_args()
    if not arguments.media.is_file():
        sys.exit(f"error: {arguments.media}: no such file; fetch it with: snakemake --cores 1 {WOMAN}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    show(arguments.frames, *measure(arguments.media, arguments.frames, arguments.rounds))


if __name__ == "__main__":
    main()
