"""Does rendering's memory grow with the driver's length? A 10-minute driver: python benchmarks/render_memory.py

The driver is a clip of the demo, repeated; the avatar a small one with random weights. Memory is the resident set of
the process, every half second. It ends with status 1 if it is more than 10 % higher at the end than after 10 s of
rendering. Everything is made in a temporary folder.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ffmpeg
import imageio_ffmpeg
import numpy as np
import pandas as pd
import psutil
import torch

from reenact.data.clip import Clip, write_clip
from reenact.media.frame_table import Stretch
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.render import PoseFilterSettings, RenderSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip
from reenact.stages.render import DriverFiles, render_pair

CLIP = Path("resources/media/single_face.mp4")
MOST_GROWTH = 0.10


def make_driver(folder: Path, clip: Path, minutes: float) -> DriverFiles:
    """Media, crops and source.json of a driver that repeats `clip` for this long."""
    frames, source, short = folder / "frames.csv", folder / "source.json", folder / "short.zip"
    decode_clip(media=clip, frames=frames, source=source, role="driver", stretch=Stretch(), settings=DecodeSettings())
    crop_clip(media=clip, frames=frames, crops=short, settings=CropSettings())
    once = Clip(short)
    table = once.table
    length = float(table["time"].iloc[-1] + table["duration"].iloc[-1])
    rounds = max(1, round(60 * minutes / length))
    media = folder / "driver.mp4"
    ffmpeg.input(str(clip), stream_loop=rounds - 1).output(str(media), c="copy").run(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True
    )
    shift = np.repeat(np.arange(rounds), len(table))
    long = pd.concat([table] * rounds, ignore_index=True)
    long = long.assign(
        index=long["index"] + shift * len(table),
        time=long["time"] + shift * length,
        source_time=long["source_time"] + shift * length,
    )
    with write_clip(folder / "crops.zip") as writer:
        for name in table["image"]:
            writer.add(name, once.image(name))
        writer.finish(long)
    return DriverFiles(folder / "crops.zip", media, source)


class Watch:
    """Measures the memory of this process, MB, every half second."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._begin = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.5):
            self.samples.append((time.perf_counter() - self._begin, process.memory_info().rss / 1e6))

    def around(self, moment: float, width: float = 2.0) -> float:
        """Mean memory within `width` s of a moment."""
        near = [memory for when, memory in self.samples if abs(when - moment) <= width]
        return float(np.mean(near or [self.samples[-1][1]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clip", type=Path, default=CLIP, help=f"what the driver repeats (default: {CLIP}, of the demo)"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the driver (default: 10)")
    parser.add_argument(
        "--outputs", default="avatar,side_by_side,pasted", help="render.outputs (default: avatar,side_by_side,pasted)"
    )
    arguments = parser.parse_args()
    if not arguments.clip.is_file():
        sys.exit(f"error: {arguments.clip} does not exist; run `make demo` first, or give --clip")
    pose = PoseFilterSettings(smoothing="savgol")
    settings = RenderSettings(outputs=arguments.outputs.split(","), height=64, preset="ultrafast", pose=pose)
    with tempfile.TemporaryDirectory(prefix="reenact-memory-") as name:
        folder = Path(name)
        driver = make_driver(folder, arguments.clip, arguments.minutes)
        torch.manual_seed(0)
        save_model(folder / "model.safetensors", Reenactor(PRESETS["small"], personal=True), {})
        frames = Clip(driver.crops).table
        with Watch() as watch:
            render_pair(
                driver=driver,
                model=folder / "model.safetensors",
                stem=folder / "out",
                device="cpu",
                threads=1,
                settings=settings,
            )
        took = watch.samples[-1][0]
    early, late = watch.around(10.0), watch.around(took - 2.0)
    growth = late / early - 1
    print(
        json.dumps(
            {
                "frames": len(frames),
                "minutes": round((frames["time"].iloc[-1] + frames["duration"].iloc[-1]) / 60, 2),
                "outputs": settings.outputs,
                "seconds": round(took, 1),
                "frames_per_second": round(len(frames) / took, 1),
                "mb_after_10_s": round(early),
                "mb_at_the_end": round(late),
                "mb_highest": round(max(memory for _, memory in watch.samples)),
                "growth": round(growth, 4),
            }
        )
    )
    if growth > MOST_GROWTH:
        sys.exit(f"error: memory grew by {growth:.0%}")


if __name__ == "__main__":
    main()
