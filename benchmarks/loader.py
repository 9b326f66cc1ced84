"""How fast do training samples come from shards, and does training wait for them? python benchmarks/loader.py

From the demo's woman, whose clip is cut into stretches that stand for clips, it makes a shard as stage `shard` does. It
prints

- what a 256 px frame costs in each image format: KB, ms to decode, and how close it stays;
- how long the index of 98,000 clips takes to open, and how much memory (it points to the same few pictures);
- samples of 8 identity frames, 1 driving frame and its matte, by time of one core, and by the clock with more threads;
- the share of each training step that waits for its samples, in a short training at the small preset.

Time of cores is that of the whole process, so that other work on the machine matters little. Files are read from the
page cache; what a disk or network adds is 10 reads of 20 KB a sample.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pandas as pd

from reenact.data.samples import Sampler
from reenact.data.shard_file import Shard, index_of
from reenact.data.shard_people import ShardPeople, Shards
from reenact.settings.crop import CropSettings
from reenact.settings.dataset import DatasetSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.shard import ShardSettings
from reenact.stages.dataset import list_clips
from reenact.stages.meta import MetaOutputs, make_meta_model
from reenact.stages.shard import Preparation, ShardNumber, ShardOutputs, make_shard
from reenact.training.checkpoint import Runs

WOMAN = Path("resources/media/WolfgangLanger_Pexels.mp4")
STRETCHES = 6
CLIPS = 98_000
FULL = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
FORMATS: dict[str, tuple[str, list[int]]] = {
    "PNG": (".png", []),
    "JPEG 95, 4:4:4": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, *FULL]),
    "JPEG 95, 4:2:0": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]),
    "JPEG 90, 4:4:4": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90, *FULL]),
    "WebP 95": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 95]),
    "WebP lossless": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
}


def core_seconds(work: Callable[[], object]) -> float:
    """Time of all cores that `work` takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def make_shards(media: Path, folder: Path) -> Path:
    """One shard with lossless pictures of stretches of a video, by the stages themselves."""
    stretch = 100 // STRETCHES
    rows = [
        (f"woman/{n}", f"person{n}", media.absolute(), f"{n * stretch}%", f"{(n + 1) * stretch}%", "train")
        for n in range(STRETCHES)
    ]
    pd.DataFrame(rows, columns=["clip", "identity", "path", "start", "end", "split"]).to_csv(
        folder / "set.csv", index=False
    )
    list_clips(source=folder / "set.csv", clips=folder / "clips.csv", shards=1, settings=DatasetSettings())
    for kind in ("png", "jpeg"):
        outputs = ShardOutputs(folder / f"{kind}.tar", folder / f"{kind}.csv")
        settings = Preparation(DecodeSettings(), CropSettings(), SegmentSettings(), ShardSettings(format=kind))
        make_shard(
            clips=folder / "clips.csv",
            number=ShardNumber(0, 1),
            outputs=outputs,
            runs=folder / kind,
            code="",
            settings=settings,
        )
    return folder / "jpeg.tar"


def compare_formats(shard: Shard) -> None:
    """Print size, time to decode and closeness of each format, for frames and mattes."""
    places = [(clip, number) for clip in range(len(shard)) for number in range(0, int(np.diff(shard.first)[clip]), 2)]
    pictures = {
        "frame": [cv2.cvtColor(shard.frame(*place), cv2.COLOR_RGB2BGR) for place in places],
        "matte": [shard.matte(*place) for place in places],
    }
    print(
        f"{'256 px, ' + str(len(places)) + ' pictures':24s} {'KB':>6s} {'decode ms':>10s} {'encode ms':>10s} "
        f"{'PSNR dB':>8s} {'worst':>6s}"
    )
    for kind, images in pictures.items():
        for name, (suffix, options) in FORMATS.items():
            size, encoding, decoding, error, worst = measure_format(images, suffix, options)
            closeness = f"{10 * np.log10(255**2 / error):8.1f}" if error else "   exact"
            print(
                f"{kind + ', ' + name:24s} {size / 1024:6.1f} {decoding * 1e3:10.2f} {encoding * 1e3:10.2f} "
                f"{closeness} {worst:6d}"
            )


def measure_format(images: list[np.ndarray], suffix: str, options: list[int]) -> tuple[float, float, float, float, int]:
    """Bytes, core seconds to encode and to decode, mean squared error and largest error, of one picture."""
    flags = cv2.IMREAD_COLOR if images[0].ndim == 3 else cv2.IMREAD_GRAYSCALE
    files: list[np.ndarray] = []
    encoding = core_seconds(lambda: files.extend(cv2.imencode(suffix, image, options)[1] for image in images)) / len(
        images
    )
    decoding = core_seconds(lambda: [cv2.imdecode(file, flags) for _ in range(5) for file in files]) / (5 * len(images))
    differences = [cv2.absdiff(cv2.imdecode(file, flags), image) for file, image in zip(files, images, strict=True)]
    error = float(np.mean([np.mean(difference.astype(float) ** 2) for difference in differences]))
    return (
        float(np.mean([len(file) for file in files])),
        encoding,
        decoding,
        error,
        max(int(difference.max()) for difference in differences),
    )


def enlarge_index(shard: Path, target: Path, clips: int) -> None:
    """A shard of many clips whose index points to the pictures of a few, over and over."""
    with np.load(index_of(shard)) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    counts = np.diff(given["first"])
    rows = np.arange(clips) % len(counts)
    frames = [given["frames"][given["first"][row] : given["first"][row + 1]] for row in range(len(counts))]
    names = np.array([f"id{number // 16:05d}/{number:011d}" for number in range(clips)])
    own = {
        "clip": names,
        "identity": names.astype("U7"),
        "split": given["split"][rows],
        "side": given["side"][rows],
        "first": np.r_[0, np.cumsum(counts[rows])],
        "frames": np.concatenate([frames[row] for row in rows]),
        "landmarks": given["landmarks"][rows],
    }
    os.link(shard, target)
    np.savez(index_of(target), **given | own)


def resident_mb() -> float:
    """Memory of this process, MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_samples(shards: Sequence[Path], clips: int, batch_size: int, steps: int, threads: Sequence[int]) -> None:
    """Print how long the index takes to open, and samples a second."""
    before, started = resident_mb(), time.process_time()
    people = ShardPeople(shards, 256, "train", "clip")
    frames = sum(int(shard.first[-1]) for shard in people._shards)
    print(
        f"index of {clips:,} clips, {frames:,} frames, {len(shards)} shards: "
        f"{time.process_time() - started:.2f} core s, {resident_mb() - before:.0f} MB"
    )
    sampler = Sampler(people, MetaSettings(), batch_size, identity_frames=8)
    sampler(0)
    taken = core_seconds(lambda: [sampler(step) for step in range(1, steps + 1)])
    count = steps * batch_size
    print(
        f"samples of 8 + 1 frames and a matte, 256 px: {count / taken:.0f} a second and core "
        f"({taken / count * 1e3:.2f} ms each)"
    )
    for number in threads:
        with ThreadPoolExecutor(number) as pool:
            clock, cores = time.perf_counter(), time.process_time()
            list(pool.map(sampler, range(steps)))
            clock, cores = time.perf_counter() - clock, time.process_time() - cores
        print(f"  {number} threads: {count / clock:.0f} a second by the clock, {count / cores:.0f} a second and core")


def measure_waiting(shards: Sequence[Path], folder: Path, steps: int, loaders: int) -> None:
    """Print the share of the time of training steps that waits for samples."""
    outputs = MetaOutputs(
        folder / "model.safetensors", folder / "curves.csv", folder / "metrics.json", folder / "preview.png"
    )
    settings = MetaSettings(
        name=f"loaders{loaders}",
        steps=steps,
        loaders=loaders,
        batch_size=8,
        perceptual_width=0.25,
        checkpoint_every=steps,
    )
    with open(os.devnull, "w") as silence, redirect_stdout(silence):
        make_meta_model(
            clips=Shards(shards, "train", "clip"),
            outputs=outputs,
            runs=Runs(folder / "runs", code=""),
            device="cpu",
            threads=1,
            settings=settings,
            model=ModelSettings(preset="small"),
        )
    curves = pd.read_csv(outputs.curves).iloc[2:]
    waiting, step = curves["data_seconds"].mean(), curves["seconds"].mean()
    print(
        f"  loaders {loaders}: {step * 1e3:.0f} ms a step, of which {waiting * 1e3:.1f} ms, {waiting / step:.1%}, wait "
        "for samples"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--media",
        type=Path,
        default=WOMAN,
        help=f"a video of one person (default: {WOMAN}; `snakemake {WOMAN}` fetches it)",
    )
    parser.add_argument("--steps", type=int, default=40, help="batches of 8 that are timed (default: 40)")
    parser.add_argument(
        "--training-steps", type=int, default=12, help="steps of the short training; 0 = none (default: 12)"
    )
    arguments = parser.parse_args()
    if not arguments.media.is_file():
        sys.exit(f"error: {arguments.media}: no such file; fetch it with: snakemake --cores 1 {WOMAN}")
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="reenact-loader-") as name:
        folder = Path(name)
        with open(os.devnull, "w") as silence, redirect_stdout(silence):
            shard = make_shards(arguments.media, folder)
        print(f"load {os.getloadavg()[0]:.1f}\n")
        compare_formats(Shard(folder / "png.tar"))
        print()
        many = [folder / f"many{number:02d}.tar" for number in range(64)]
        for path in many:
            enlarge_index(shard, path, CLIPS // len(many))
        measure_samples(many, CLIPS, 8, arguments.steps, (2, 4))
        if arguments.training_steps:
            print(
                "\ntraining at the small preset, 64 px, batch 8, 8 identity frames from 256 px pictures, one thread of "
                "torch:"
            )
            for loaders in (0, 1, 2):
                measure_waiting(many, folder, arguments.training_steps, loaders)


if __name__ == "__main__":
    main()
