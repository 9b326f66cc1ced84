"""How well the watermark survives, how rarely it is seen where there is none, and what it costs.

Figures: docs/experiments/watermark.md. Four parts; the first two go on where they stopped, and print their table from
what is in their CSV:
  python benchmarks/watermark.py attacks --clips CLIPS --table attacks.csv
  python benchmarks/watermark.py false-alarms --clips CLIPS --pictures PICTURES --table alarms.csv
  python benchmarks/watermark.py cost --clips CLIPS
  python benchmarks/watermark.py wall --picture wall.png
CLIPS and PICTURES are folders that hold videos of faces (mp4) and pictures (jpg), at any depth.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import torch

from reenact.avatar import Avatar
from reenact.data.images import resize_to, to_tensor
from reenact.faces.crop_pixels import centre_crop
from reenact.matting.segmenters import open_segmenter
from reenact.media.probe import probe, read_frames
from reenact.provenance.stamp import Stamp
from reenact.provenance.watermark import Watermark
from reenact.provenance.watermark_reader import (
    STAGES,
    Evidence,
    correlate,
    demodulated,
    frames_of,
    gather,
    moved,
    read_watermark,
    spectra,
)
from reenact.rendering.compose import to_bytes
from reenact.rendering.encode import write_video
from reenact.runtime.parallel import batches
from reenact.settings.meta import BUNDLED_MODELS
from reenact.settings.segment import SegmentSettings

SIDE = 256
Frames = list[tuple[float, np.ndarray]]

X264 = "-c:v libx264 -preset medium"
ATTACKS: dict[str, tuple[str, str]] = {
    "as rendered": ("", ""),
    "crf 23": (f"{X264} -crf 23", ".mp4"),
    "crf 28": (f"{X264} -crf 28", ".mp4"),
    "crf 35": (f"{X264} -crf 35", ".mp4"),
    "crf 35, three seconds": (f"-t 3 {X264} -crf 35", ".mp4"),
    "crf 40": (f"{X264} -crf 40", ".mp4"),
    "VP9, mp4 to webm (crf 36)": ("-c:v libvpx-vp9 -b:v 0 -crf 36 -deadline realtime -cpu-used 6", ".webm"),
    "500 kbit/s": (f"{X264} -b:v 500k -maxrate 600k -bufsize 1000k", ".mp4"),
    "half size, crf 23": (f"-vf scale=iw/2:-2 {X264} -crf 23", ".mp4"),
    "10 % crop, crf 23": (f"-vf crop=iw*0.9:ih*0.9:iw*0.03:ih*0.07 {X264} -crf 23", ".mp4"),
    "screen recording": (
        "-ss 0.3 -vf scale=iw*1.25:-2:flags=bicubic,pad=iw+170:ih+90:100:30,fps=30 " + X264 + " -crf 26",
        ".mp4",
    ),
    "mirrored, crf 23": (f"-vf hflip {X264} -crf 23", ".mp4"),
    "turned by 5 degrees, crf 23": (f"-vf rotate=-5*PI/180 {X264} -crf 23", ".mp4"),
    "one second, crf 23": (f"-ss 1 -t 1 {X264} -crf 23", ".mp4"),
    "one picture, JPEG": ("-ss 1 -frames:v 1 -q:v 4", ".jpg"),
}
"""What happens to videos -> ffmpeg's flags, and the kind of file that it becomes."""


def videos_in(folder: Path) -> list[Path]:
    """All mp4 files of a folder, in an order that mixes them."""
    found = sorted(folder.rglob("*.mp4"))
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def clip_frames(path: Path, seconds: float) -> Frames:
    """The beginning of a clip, a square of SIDE px from its middle, from time 0 on."""
    found: Frames = []
    first: float | None = None
    for frame in read_frames(probe(path), threads=1):
        first = frame.time if first is None else first
        if frame.time - first >= seconds - 1e-3:
            break
        found.append((frame.time - first, centre_crop(frame.pixels(), SIDE)))
    return found


def rendered(avatar: Avatar, person: Frames, driver: Frames) -> Frames:
    """The person, by the meta-model alone, following the driver."""
    photos = np.stack([image for _, image in person[::12]])
    with open_segmenter(SegmentSettings()) as segmenter:
        mattes = to_bytes(segmenter.mattes(photos))
    identity = avatar.identify(photos, mattes)
    shown: Frames = []
    for batch in batches(driver, 8):
        poses = avatar.pose_embedding(to_tensor(np.stack([image for _, image in batch])))
        for (when, _), picture in zip(batch, avatar.render(poses, identity)[0], strict=True):
            shown.append((when, to_bytes(resize_to(picture.permute(1, 2, 0).numpy(), SIDE))))
    return shown


def rendering_of(avatar: Avatar, person: Path, driver: Path, seconds: float) -> Frames:
    """The person of one clip following another."""
    return rendered(avatar, clip_frames(person, 2.4), clip_frames(driver, seconds))


def write(path: Path, frames: Frames, stamp: Stamp | None) -> None:
    """As stage render writes: H.264, crf 16."""
    ends = [when for when, _ in frames[1:]] + [frames[-1][0] + 0.04]
    with write_video(path, SIDE, SIDE, stamp=stamp) as video:
        for (when, image), end in zip(frames, ends, strict=True):
            video.add(image, when, end - when)


def material(clips: Path, renderings: int, foreign: int, seconds: float) -> Iterator[tuple[str, Callable[[], Frames]]]:
    """Names, and functions that make the frames: renderings of the bundled meta-model and clips, in turn, of this
    length."""
    found = videos_in(clips)
    long = [path for path in found if (probe(path).duration or 0) >= seconds]
    avatar = Avatar.load(BUNDLED_MODELS["warping"], "cpu")
    for i in range(max(renderings, foreign)):
        if i < renderings:
            person, driver = found[(2 * i) % len(found)], long[i % len(long)]
            yield f"rendering {person.stem} {driver.stem}", partial(rendering_of, avatar, person, driver, seconds)
        if i < foreign:
            path = long[len(long) - 1 - i % len(long)]
            yield f"clip {path.stem}", partial(clip_frames, path, seconds)


def attacks(arguments: argparse.Namespace) -> None:
    """Mark, change, read."""
    done = set(pd.read_csv(arguments.table)["name"]) if arguments.table.exists() else set()
    watermark = Watermark()
    random = np.random.default_rng(1)
    videos = material(arguments.clips, arguments.renderings, arguments.foreign, arguments.seconds)
    for place, (name, make) in enumerate(videos):
        number = int(random.integers(1 << 32))
        if name in done or place % arguments.processes != arguments.process:
            continue
        frames, rows = make(), []
        with tempfile.TemporaryDirectory(prefix="reenact-watermark-") as folder:
            original = Path(folder) / "original.mp4"
            write(original, frames, Stamp(watermark, number, "0"))
            for attack, (flags, suffix) in ATTACKS.items():
                if arguments.attack and attack not in arguments.attack:
                    continue
                changed = Path(folder) / f"changed{suffix}" if flags else original
                if flags:
                    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-i", str(original)]
                    subprocess.run([*command, "-threads", "1", *flags.split(), str(changed)], check=True)
                begin = time.process_time()
                reading = read_watermark(gather(frames_of(changed)), watermark)
                rows.append(
                    {
                        "name": name,
                        "kind": name.split()[0],
                        "frames": len(frames),
                        "attack": attack,
                        "found": reading.found,
                        "read": reading.payload == number,
                        "wrong": reading.payload not in (None, number),
                        "errors": np.nan if reading.guess is None else (reading.guess ^ number).bit_count() / 32,
                        "significance": reading.significance,
                        "seconds": time.process_time() - begin,
                    }
                )
        pd.DataFrame(rows).to_csv(arguments.table, mode="a", header=not arguments.table.exists(), index=False)
    print_attacks(pd.read_csv(arguments.table))


def print_attacks(table: pd.DataFrame) -> None:
    """One row an attack, in Markdown."""
    print(f"{table['name'].nunique()} videos: {table.groupby('kind')['name'].nunique().to_dict()}")
    print("| | found | id read | of renderings | wrong ids | wrong bits | median z | seconds |\n" + "| --- " * 8 + "|")
    for attack in (attack for attack in ATTACKS if attack in set(table["attack"])):
        rows = table[table["attack"] == attack]
        ours = rows[rows["kind"] == "rendering"]
        print(
            f"| {attack} | {rows['found'].mean():.0%} | {rows['read'].mean():.0%} | {ours['found'].mean():.0%}, "
            f"{ours['read'].mean():.0%} | {rows['wrong'].sum()} | {rows['errors'].mean():.1%} | "
            f"{rows['significance'].median():.1f} | {rows['seconds'].median():.2f} |"
        )


# ---- false alarms --------------------------------------------------------------------------------------------


def unmarked(clips: Path, pictures: Path, count: int) -> Iterator[tuple[str, Callable[[], Evidence]]]:
    """Foreign clips and pictures, each as it is and compressed."""
    found = videos_in(clips)
    still = sorted(pictures.rglob("*.jpg"))
    random = np.random.default_rng(2)
    found += [still[i] for i in random.permutation(len(still))[: count - len(found)]]
    for path in (found[i] for i in random.permutation(len(found))):
        yield f"{path.parent.name}/{path.name}", partial(as_it_is, path)
        yield f"{path.parent.name}/{path.name}, compressed", partial(compressed, path)


def as_it_is(path: Path) -> Evidence:
    """Of the first 100 frames of a file."""
    return gather(islice(frames_of(path), 100))


def compressed(path: Path) -> Evidence:
    """The same at H.264 crf 32, or as JPEG of quality 50."""
    if path.suffix == ".jpg":
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        return gather([(0.0, cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))])
    with tempfile.TemporaryDirectory(prefix="reenact-watermark-") as folder:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-i", str(path), "-an", "-threads", "1"]
        flags = "-frames:v 100 -c:v libx264 -preset veryfast -crf 32"
        subprocess.run([*command, *flags.split(), f"{folder}/c.mp4"], check=True)
        return gather(frames_of(Path(folder) / "c.mp4"))


def false_alarms(arguments: argparse.Namespace) -> None:
    """The whole search under the public key; single stages under many wrong keys."""
    done = set(pd.read_csv(arguments.table)["name"]) if arguments.table.exists() else set()
    right = Watermark()
    wrong = [Watermark(f"wrong key {number}") for number in range(arguments.keys)]
    for place, (name, make) in enumerate(unmarked(arguments.clips, arguments.pictures, arguments.files)):
        if name in done:
            continue
        evidence = make()
        reading = read_watermark(evidence, right)
        row: dict[str, Any] = {"name": name, "found": reading.found, "significance": reading.significance}
        images = demodulated(evidence)
        parts = spectra(images)
        row |= {f"as it was {n}": correlate(parts, key, True).significance for n, key in enumerate(wrong)}
        row |= {
            f"shifted {n}": max(correlate(parts, key, False, mirrored).significance for mirrored in (False, True))
            for n, key in enumerate(wrong)
        }
        if place % arguments.every == 0:
            for stage in STAGES[2:4]:
                row |= whole_stage(evidence, stage.name, wrong[: arguments.keys_of_stages])
        pd.DataFrame([row]).to_csv(arguments.table, mode="a", header=not arguments.table.exists(), index=False)
    print_alarms(pd.read_csv(arguments.table))


def whole_stage(evidence: Evidence, name: str, keys: list[Watermark]) -> dict[str, float]:
    """The greatest significance in a whole stage, for each key."""
    (stage,) = (one for one in STAGES if one.name == name)
    images = demodulated(evidence)
    best = np.zeros(len(keys))
    for place in stage.places:
        if place.mirrored:
            continue
        parts = spectra([moved(image, place) for image in images])
        for number, key in enumerate(keys):
            values = [correlate(parts, key, False, mirrored).significance for mirrored in (False, True)]
            best[number] = max(best[number], *values)
    return {f"{name} {number}": value for number, value in enumerate(best)}


def print_alarms(table: pd.DataFrame) -> None:
    """How the tails lie, and what follows for the thresholds."""
    print(f"{len(table)} files, as they are or compressed; false alarms under the public key: {table['found'].sum()}")
    print(f"greatest significance of the whole search: {table['significance'].max():.2f}")
    print("| stage | values | mean | greatest | chances: fitted | set | Gumbel: location, scale | threshold |")
    print("| --- " * 8 + "|")
    for stage in STAGES:
        columns = [column for column in table if column.rsplit(" ", 1)[0] == stage.name]
        values = table[columns].to_numpy().ravel() if columns else np.array([])
        values = np.sort(values[np.isfinite(values)])
        if not len(values):
            continue
        # P(greatest > t) = 1 - exp(-chances exp(-t^2 / 2)): fitted where one of 1,000 to one of 20 exceeds it.
        shares = 1 - (np.arange(len(values)) + 0.5) / len(values)
        tail = (shares < max(0.05, 20 / len(values))) & (shares > max(0.001, 2 / len(values)))
        fitted = np.exp(np.median(np.log(-np.log1p(-shares[tail])) + values[tail] ** 2 / 2))
        scale = values.std() * np.sqrt(6) / np.pi
        print(
            f"| {stage.name} | {len(values)} | {values.mean():.2f} | {values[-1]:.2f} | {fitted:.3g} | "
            f"{stage.chances:.3g} | {values.mean() - 0.5772 * scale:.2f}, {scale:.3f} | {stage.threshold():.2f} |"
        )
        for t in (3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5):
            seen, said = np.mean(values > t), min(1.0, stage.chances * np.exp(-t * t / 2))
            if 0 < seen < 0.5:
                print(f"  over {t}: {seen:.2e} seen, at most {said:.2e} said")


# ---- cost ----------------------------------------------------------------------------------------------------


def cost(arguments: argparse.Namespace) -> None:
    """PSNR, bit rate and time of rendering with and without the mark."""
    avatar = Avatar.load(BUNDLED_MODELS["warping"], "cpu")
    found = videos_in(arguments.clips)
    stamp = Stamp(Watermark(), 0x12345678, "0")
    rows = []
    for i in range(arguments.renderings):
        person, driver = (clip_frames(found[(2 * i + 7 * j) % len(found)], 4) for j in range(2))
        row: dict[str, float] = {}
        with tempfile.TemporaryDirectory(prefix="reenact-watermark-") as folder:
            begin = time.process_time()
            frames = rendered(avatar, person, driver)
            drawn = time.process_time() - begin
            seconds: dict[bool, list[float]] = {False: [], True: []}
            for repeat in range(4):
                on = bool(repeat % 2)
                path = Path(folder) / f"{on}.mp4"
                begin = time.process_time()
                write(path, frames, stamp if on else None)
                seconds[on].append(drawn + time.process_time() - begin)
                row[f"size {on}"] = path.stat().st_size
            mark = stamp.marker(SIDE, SIDE)
            errors = [np.mean((mark(image, when).astype(float) - image) ** 2) for when, image in frames]
        row["psnr"] = float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-9))))
        row["least"] = float(np.min(10 * np.log10(255**2 / np.maximum(errors, 1e-9))))
        row["time"] = min(seconds[True]) / min(seconds[False])
        row["rate"] = row["size True"] / row["size False"]
        row["frame_ms"] = 1000 * min(seconds[False]) / len(frames)
        rows.append(row)
        print(f"rendering {i}: {row['psnr']:.1f} dB, rate {row['rate']:.3f}, time {row['time']:.3f}", flush=True)
    table = pd.DataFrame(rows)
    print(table.describe().loc[["mean", "min", "max"]].to_string(float_format="%.3f"))


# ---- a flat wall ---------------------------------------------------------------------------------------------


def wall(arguments: argparse.Namespace) -> None:
    """A computed wall without any grain, where a mark is seen first: how much changes, and how much that pulses."""
    across, down = np.meshgrid(np.linspace(0, 1, SIDE), np.linspace(0, 1, SIDE))
    plain = np.repeat(np.rint(150 + 20 * across - 15 * down)[..., None], 3, axis=2).astype(np.uint8)
    mark = Stamp(Watermark(), 0x12345678, "0").marker(SIDE, SIDE)
    marked = np.array([mark(plain, number / 25) for number in range(50)])
    changes = marked.astype(np.float32) - plain
    means = np.array([cv2.blur(change[..., 1], (16, 16))[8:-8, 8:-8] for change in changes])
    pulse = np.ptp(means, axis=0)
    values, counts = np.unique(changes, return_counts=True)
    shares = ", ".join(f"{value:+.0f}: {count / changes.size:.1%}" for value, count in zip(values, counts, strict=True))
    print(f"PSNR {10 * np.log10(255**2 / np.mean(changes**2)):.1f} dB; levels of 255: {shares}")
    print(f"pulse of means over 16 px, levels: median {np.median(pulse):.2f}, worst {pulse.max():.2f}")
    if arguments.picture:
        amplified = np.clip(128 + 40 * changes[12], 0, 255).astype(np.uint8)
        cv2.imwrite(str(arguments.picture), np.hstack([plain, marked[12], amplified])[..., ::-1])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["attacks", "false-alarms", "cost", "wall"])
    parser.add_argument("--clips", type=Path, help="not needed for wall")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--table", type=Path, help="CSV to add to")
    parser.add_argument("--picture", type=Path, help="PNG of the wall to write: plain, marked, 40 times the difference")
    parser.add_argument("--renderings", type=int, default=50)
    parser.add_argument("--foreign", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=8, help="length of each video that is attacked (default: 8)")
    parser.add_argument("--attack", nargs="+", choices=ATTACKS, metavar="ATTACK", help="these alone, by their names")
    parser.add_argument("--processes", type=int, default=1, help="that share the videos, each with a table of its own")
    parser.add_argument("--process", type=int, default=0, help="which of them this is, from 0 on")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--every", type=int, default=10, help="of the files, for stages that search long")
    parser.add_argument("--keys-of-stages", type=int, default=10)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if arguments.part != "wall" and not (arguments.clips and arguments.clips.is_dir()):
        sys.exit(f"error: --clips: {arguments.clips} is no folder")
    parts = {"attacks": attacks, "false-alarms": false_alarms, "cost": cost, "wall": wall}
    parts[arguments.part](arguments)


if __name__ == "__main__":
    main()
