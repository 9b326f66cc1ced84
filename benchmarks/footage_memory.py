"""How much memory does footage of 10 minutes of 1080p take? python benchmarks/footage_memory.py

Stages decode, crop and segment run as the workflow runs them, each as a command of its own with two threads, on a
driver (all of whose frames are used) that repeats a clip of the demo, enlarged to 1920 x 1080: once for a fifth of
`--minutes` and once for all of them. Memory is the peak of the command's resident set. It ends with status 1 if a stage
takes more than 1 GB. Everything is made in a temporary folder (about 2 GB); the whole takes about as long as the clip
on two cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg

CLIP = Path("resources/media/single_face.mp4")
MOST_MB = 1000


def make_clips(clip: Path, folder: Path, fps: float, minutes: list[float]) -> list[Path]:
    """`clip` at 1920 x 1080 (H.264), repeated without being encoded again, for so many minutes each."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y"]
    large = folder / "large.mp4"
    picture = [
        "-vf",
        f"scale=1920:1080:flags=lanczos,fps={fps}",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([*ffmpeg, "-i", str(clip), *picture, "-an", str(large)], check=True)
    clips = [folder / f"{length:g}_minutes.mp4" for length in minutes]
    for target, length in zip(clips, minutes, strict=True):
        subprocess.run(
            [*ffmpeg, "-stream_loop", "-1", "-i", str(large), "-t", f"{60 * length}", "-c", "copy", str(target)],
            check=True,
        )
    return clips


def peak(stage: str, **arguments: Path | str) -> tuple[float, float]:
    """Peak memory, MB, and seconds of one stage's command."""
    command = [sys.executable, "-m", f"workflow_scripts.{stage}", "--threads", "2"]
    for name, value in arguments.items():
        command += [f"--{name}", str(value)]
    clock = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: stage {stage} failed")
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024), time.perf_counter() - clock


def measure(media: Path, folder: Path) -> dict[str, tuple[float, float]]:
    """Of each stage its peak memory, MB, and its seconds."""
    frames, source, crops, mattes = (
        folder / f"{media.stem}.{suffix}" for suffix in ("csv", "json", "crops.zip", "mattes.zip")
    )
    return {
        "decode": peak("decode", media=media, frames=frames, source=source, role="driver"),
        "crop": peak("crop", media=media, frames=frames, crops=crops),
        "segment": peak("segment", crops=crops, mattes=mattes),
    }


def main() -> None:
    """Print a line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clip", type=Path, default=CLIP, help=f"what the driver repeats (default: {CLIP}, of the demo)"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the longer driver (default: 10)")
    parser.add_argument("--fps", type=float, default=25.0, help="its frames per second (default: 25)")
    arguments = parser.parse_args()
    if not arguments.clip.is_file():
        sys.exit(f"error: {arguments.clip} does not exist; fetch it with: snakemake --cores 1 {CLIP}")
    minutes = [arguments.minutes / 5, arguments.minutes]
    with tempfile.TemporaryDirectory(prefix="reenact-memory-") as name:
        clips = make_clips(arguments.clip, Path(name), arguments.fps, minutes)
        short, long = (measure(clip, Path(name)) for clip in clips)
    frames = [60 * arguments.fps * length for length in minutes]
    print(f"1920 x 1080, {arguments.fps:g} frames/s; peak memory, MB")
    print(f"{'stage':8s} {minutes[0]:>5g} min {minutes[1]:>5g} min  per 1000 frames more   seconds")
    for stage, (most, seconds) in long.items():
        growth = (most - short[stage][0]) / (frames[1] - frames[0]) * 1000
        print(f"{stage:8s} {short[stage][0]:9.0f} {most:9.0f}  {growth:21.1f} {seconds:9.0f}")
    if max(most for most, _ in long.values()) > MOST_MB:
        sys.exit(f"error: more than {MOST_MB} MB")


if __name__ == "__main__":
    main()
