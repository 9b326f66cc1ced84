"""How fast is preprocessing? decode + crop + segment of a 512 x 512 clip: python benchmarks/preprocess.py

All figures come from one run, because only their ratios mean something on another machine:

- the stages, called one after the other as Snakemake calls them for one clip on 2 cores, each with 2 threads;
- the libraries alone, on one core: the same decoding, face mesh, segmentation and PNG, without anything of ours;
- a straightforward loop: frames to JPEG files, each file read, its face found and cut out, written, read, segmented, written.

It makes its clip from the demo's woman, in a temporary folder, and writes nothing else.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import imageio_ffmpeg
import numpy as np

from reenact.clip import Clip, encode_png
from reenact.crop import crop_clip
from reenact.crop_geometry import crop_square
from reenact.decode import decode_clip
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.segment import segment_clip
from reenact.segmenters import MediapipeSegmenter
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings

WOMAN = Path("resources/media/WolfgangLanger_Pexels.mp4")
CORES = 2
SIZE = CropSettings().size


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
    subprocess.run([*ffmpeg, *picture, "-an", "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", str(target)], check=True)


def run_stages(media: Path, folder: Path, frames: int) -> list[Lap]:
    """The three stages of one clip, one after the other."""
    table, facts, crops, mattes = (folder / name for name in ("frames.csv", "source.json", "crops.zip", "mattes.zip"))
    return [
        lap("decode", frames, lambda: decode_clip(
            media=media, frames=table, source=facts, role="driver", start=None, end=None, holdout=0, settings=DecodeSettings())),
        lap("crop", frames, lambda: crop_clip(media=media, frames=table, crops=crops, settings=CropSettings(), threads=CORES)),
        lap("segment", frames, lambda: segment_clip(crops=crops, mattes=mattes, settings=SegmentSettings(), threads=CORES)),
    ]  # fmt: skip


def pictures(media: Path) -> Iterable[np.ndarray]:
    """All frames, RGB."""
    with av.open(str(media)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def run_libraries(media: Path, crops: Path) -> list[Lap]:
    """The libraries alone, on one core, each doing once what cannot be avoided."""
    cv2.setNumThreads(1)
    frames = list(pictures(media))
    clip = Clip(crops)
    faces = clip.images(list(clip.table["image"]))
    files = [encode_png(face) for face in faces]
    with FaceFinder() as finder, MediapipeSegmenter() as segmenter:
        finder.find(frames[0])
        laps = [
            lap("decode to RGB (PyAV)", len(frames), lambda: [None for _ in pictures(media)]),
            lap("face mesh (mediapipe)", len(frames), lambda: [finder.find(frame) for frame in frames]),
            lap("cut out and resize (OpenCV)", len(frames), lambda: [cv2.resize(f[16:, 16:], (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in frames]),
            lap("write crops (OpenCV)", len(faces), lambda: [cv2.imencode(".png", face) for face in faces]),
            lap("read crops (OpenCV)", len(faces), lambda: [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR) for f in files]),
            lap("segmentation (mediapipe)", len(faces), lambda: [segmenter.mattes(face[None]) for face in faces]),
            lap("write mattes (OpenCV)", len(faces), lambda: [cv2.imencode(".png", face[..., 0]) for face in faces]),
        ]
    cv2.setNumThreads(-1)
    return laps


def run_loop(media: Path, folder: Path, frames: int) -> Lap:
    """The straightforward way: a file for every picture between any two steps."""
    def work() -> None:
        raw, cut, mattes = (folder / name for name in ("raw", "cut", "mattes"))
        for place in (raw, cut, mattes):
            place.mkdir()
        for number, picture in enumerate(pictures(media)):
            cv2.imwrite(str(raw / f"{number:06d}.jpg"), picture[..., ::-1])
        with FaceFinder() as finder:
            for file in sorted(raw.iterdir()):
                picture = np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])
                found = finder.find(picture)
                if found:
                    box = found[0].box
                    side = 1.8 * max(box[2] - box[0], box[3] - box[1])
                    face = crop_square(picture, (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2, side, SIZE)
                    cv2.imwrite(str(cut / f"{file.stem}.png"), face[..., ::-1])
        with MediapipeSegmenter(general=True) as segmenter:
            for file in sorted(cut.iterdir()):
                face = np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])
                matte = segmenter.mattes(face[None])[0]
                cv2.imwrite(str(mattes / file.name), (matte * 255).astype(np.uint8))

    return lap("straightforward loop", frames, work)


def table(title: str, laps: list[Lap]) -> str:
    """Laps as text: one line each and their sum."""
    wall, cpu = sum(one.wall for one in laps), sum(one.cpu for one in laps)
    lines = [f"{title:30s} {'ms/frame':>9s} {'core ms':>9s} {'share':>6s} {'frames/s':>9s}"]
    for one in [*laps, Lap("together", wall, cpu, laps[0].frames)] if len(laps) > 1 else laps:
        each = one.wall / one.frames * 1000
        lines.append(f"  {one.name:28s} {each:9.2f} {one.cpu / one.frames * 1000:9.2f} {one.wall / wall:6.0%} {1000 / each:9.1f}")
    return "\n".join(lines)


def main() -> None:
    """Print the tables and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=WOMAN, help=f"the woman's video, 640 x 360 (default: {WOMAN}; `snakemake {WOMAN}` fetches it)")
    parser.add_argument("--frames", type=int, default=300, help="length of the clip (default: 300)")
    arguments = parser.parse_args()
    if not arguments.media.is_file():
        sys.exit(f"error: {arguments.media}: no such file; fetch it with: snakemake --cores 1 {WOMAN}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="reenact-bench-") as name:
        folder = Path(name)
        media = folder / "woman.mp4"
        make_clip(arguments.media, media, arguments.frames)
        run_stages(media, folder, arguments.frames)  # loads what is loaded once
        stages = run_stages(media, folder, arguments.frames)
        libraries = run_libraries(media, folder / "crops.zip")
        loop = run_loop(media, folder, arguments.frames)
    ours, alone = sum(one.wall for one in stages), sum(one.cpu for one in libraries)
    work = sum(one.cpu for one in stages)
    print(f"512 x 512, {arguments.frames} frames, {CORES} cores, load {os.getloadavg()[0]:.1f}\n")
    print(table(f"stages, {CORES} threads", stages), "\n")
    print(table("libraries alone, 1 core", libraries), "\n")
    print(table("straightforward loop", [loop]), "\n")
    print(f"decode + crop + segment        {arguments.frames / ours:.1f} frames/s")
    print(f"all cores' time / libraries'   {work / alone:.2f}")
    print(f"clock / (libraries' / {CORES} cores)  {ours / (alone / CORES):.2f}")
    print(f"faster than the loop           {loop.wall / ours:.1f} x (clock), {loop.cpu / work:.1f} x (cores' time)")


if __name__ == "__main__":
    main()
