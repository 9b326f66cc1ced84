"""Stage `shard`: one part of the meta-learning set, decoded, cropped and segmented clip by clip, in one job.

Networks are loaded once. A clip that is finished is on disk for good (`reenact.data.shard_file`): a job that was
killed goes on behind it, and one whose table has grown makes only what is new. A broken clip is recorded and left out.
"""

import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from reenact.data.clip import Clip
from reenact.data.sequence import spread
from reenact.data.shard_file import FORMAT, Pictures, ShardWriter
from reenact.faces.detectors import Detector, open_detectors
from reenact.matting.segmenters import Segmenter, open_segmenter
from reenact.media.frame_table import Stretch
from reenact.media.photos import CROPPED, MASKS, natural
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, temporary_folder
from reenact.runtime.parallel import cpu_threads
from reenact.runtime.progress import progress
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.settings.shard import ShardSettings
from reenact.stages.crop import crop_clip
from reenact.stages.dataset import UNUSED, VIDEO_SUFFIXES
from reenact.stages.decode import decode_clip
from reenact.stages.segment import MIN_FACE_COVERAGE, segment_clip

FAILURES = ["clip", "identity", "path", "reason"]
# A clip at which the process died this often (by a crash of a library, or out of memory) is left out.
MAX_CRASHES = 3
# Errors of the machine's, not of a clip's.
_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM}


@dataclass(frozen=True)
class ShardOutputs:
    """Files that the stage writes: the shard (its index goes beside it), and a table of clips and videos left out."""

    shard: Path
    failures: Path


@dataclass(frozen=True)
class Preparation:
    """Settings of everything that happens to a clip."""

    decode: DecodeSettings
    crop: CropSettings
    segment: SegmentSettings
    shard: ShardSettings

    def key(self, code: str) -> str:
        """12 hex digits that change with what a clip becomes."""
        settings = {name: value.model_dump(mode="json") for name, value in vars(self).items()}
        del settings["shard"]["max_failed"], settings["decode"]["max_frames"]
        return hashlib.sha256(json.dumps([FORMAT, code, settings], sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ShardNumber:
    """Which shard of a set, from 0, of how many."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number:05d}-of-{self.count:05d}"


def make_shard(
    *,
    clips: Path,
    number: ShardNumber,
    outputs: ShardOutputs,
    runs: Path,
    device: str = "auto",
    threads: int = 1,
    code: str,
    settings: Preparation,
) -> None:
    """Make one shard of the set.

    Args:
        clips: table of stage `dataset`.
        number: which shard to make.
        outputs: what to write.
        runs: folder for unfinished shards. What other code or settings made for the same shard is deleted from it.
        device, threads: see `crop_clip`.
        code: fingerprint of the code, so that changed code never continues an old shard.
        settings: of the stages decode, crop, segment and of this one.

    Raises:
        UserError: more clips failed than `max_failed` allows, or the disk is full.
    """
    table = pd.read_csv(clips, dtype=str, keep_default_na=False)
    mine = table[(table["shard"] == str(number.number)) & (table["split"] != UNUSED)].to_dict("records")
    folder = runs / f"{number}-{settings.key(code)}"
    for other in runs.glob(f"{number}-*"):
        if other != folder:
            print(f"shard: {other} was made with other settings or code, and is deleted", flush=True)
            shutil.rmtree(other)
    with ShardWriter(folder) as writer:
        for left in folder.glob(".making-*"):  # by a job that was killed
            shutil.rmtree(left)
        stamps = {clip["clip"]: _stamp(clip) for clip in mine}
        missing = [clip for clip in mine if not writer.has(clip["clip"], stamps[clip["clip"]])]
        print(f"shard {number}: {len(mine)} clips, {len(mine) - len(missing)} of them finished ({folder})", flush=True)
        failures = _Failures(
            folder / "failures.csv", math.ceil(settings.shard.max_failed * len(mine) - 1e-9), len(mine)
        )
        with ExitStack() as opened:
            if missing:
                tools = _open_tools(opened, settings, device, cpu_threads(threads))
            for clip in progress(missing, len(missing), f"shard {number}", unit="clip"):
                _add(writer, clip, stamps[clip["clip"]], tools, failures)
        writer.publish(outputs.shard, mine)
    with atomic_write(outputs.failures) as temporary:
        shutil.copyfile(failures.path, temporary)
    made = len(mine) - failures.count
    print(f"shard {number}: {made} of {len(mine)} clips ({outputs.shard}); failed: {failures.count}", flush=True)


# ---- what fails ---------------------------------------------------------------------------------------------


class _Failures:
    """The table of what is left out: on disk after every row, in the run folder, which survives a failed job."""

    def __init__(self, path: Path, allowed: int, clips: int) -> None:
        self.path, self.count = path, 0
        self._allowed, self._clips = allowed, clips
        self._rows: list[dict[str, str]] = []
        self._write()

    def add(self, clip: dict[str, str], path: str, reason: str) -> None:
        """Record a video, or a whole clip, that is left out."""
        self._rows.append({**{name: clip[name] for name in ("clip", "identity")}, "path": path, "reason": reason})
        print(f"left out: {clip['clip']} ({path}): {reason}", flush=True)
        self._write()

    def fail(self, clip: dict[str, str], reason: str) -> None:
        """Record a clip of which nothing is left.

        Raises:
            UserError: it is one too many.
        """
        self.count += 1
        self.add(clip, clip["path"], reason)
        if self.count > self._allowed:
            raise UserError(
                f"{self.count} of {self._clips} clips of this shard failed, shard.max_failed allows {self._allowed}; "
                f"the last: {clip['clip']}: {reason}. All are in {self.path}"
            )

    def _write(self) -> None:
        with atomic_write(self.path) as temporary:
            pd.DataFrame(self._rows, columns=FAILURES).to_csv(temporary, index=False)


def _add(writer: ShardWriter, clip: dict[str, str], stamp: str, tools: "_Tools", failures: _Failures) -> None:
    """Make a clip and add it, or record why that cannot be done."""
    name = clip["clip"]
    crash_count = writer.begin(name, stamp)
    if crash_count >= MAX_CRASHES:
        failures.fail(clip, f"the job died {crash_count} times while it worked on this clip")
        return
    try:
        writer.add(name, stamp, _make(clip, writer.folder, tools, failures))
    except Exception as error:
        # Whatever one clip of thousands provokes in a library must not cost the others; max_failed bounds it.
        if _is_ours(error):
            raise
        writer.fail(name, stamp)
        failures.fail(clip, _reason(error))


def _is_ours(error: BaseException) -> bool:
    """Whether an error is the disk's or the machine's, so that the next clip would meet it too."""
    cause = error.__cause__ if isinstance(error, UserError) else error
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in _OURS)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


# ---- one clip -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tools:
    """What every clip of a job needs."""

    settings: Preparation
    detectors: list[Detector]
    segmenter: Segmenter
    device: str
    threads: int


def _open_tools(opened: ExitStack, settings: Preparation, device: str, threads: int) -> _Tools:
    detectors = opened.enter_context(open_detectors(settings.crop, device, threads))
    segmenter = opened.enter_context(open_segmenter(settings.segment, device=device, threads=threads))
    return _Tools(settings, detectors, segmenter, device, threads)


def _make(clip: dict[str, str], folder: Path, tools: _Tools, failures: _Failures) -> Pictures:
    """The pictures of a clip, from one video or from several of a folder.

    Raises:
        UserError: fewer than two frames can be used: one to show who it is, and one to drive with.
    """
    media = list(_media(Path(clip["path"])))
    chosen = [media[i] for i in spread(len(media), tools.settings.shard.videos)]
    parts, reasons = [], []
    for file in chosen:
        try:
            parts.append(_make_part(file, clip, -(-tools.settings.shard.frames // len(chosen)), folder, tools))
        except UserError as error:
            if _is_ours(error) or len(chosen) == 1:
                raise
            reasons.append(_reason(error))
            failures.add(clip, str(file), reasons[-1])
    count = sum(len(part.frames) for part in parts)
    needed = tools.settings.shard.min_frames
    if count < needed:
        why = f": {reasons[0]}" if reasons else ""
        raise UserError(f"{count} frame{'s' * (count != 1)} can be used, and {needed} are needed{why}")
    frames, mattes = ([image for part in parts for image in getattr(part, name)] for name in ("frames", "mattes"))
    return Pictures(frames, mattes, np.concatenate([part.landmarks for part in parts]), parts[0].suffix, parts[0].side)


def _make_part(media: Path, clip: dict[str, str], max_frames: int, folder: Path, tools: _Tools) -> Pictures:
    """What is kept of one video or folder of pictures."""
    settings = tools.settings
    with temporary_folder(folder) as work:
        frames, crops, mattes = (work / name for name in ("frames.csv", "crops.zip", "mattes.zip"))
        decode_clip(
            media=media,
            frames=frames,
            source=work / "source.json",
            role="identity",
            stretch=Stretch(start=clip["start"] or None, end=clip["end"] or None),
            settings=settings.decode.model_copy(update={"max_frames": max_frames}),
            threads=tools.threads,
        )
        crop_clip(
            media=media,
            frames=frames,
            crops=crops,
            settings=settings.crop,
            device=tools.device,
            threads=tools.threads,
            detectors=tools.detectors,
        )
        segment_clip(
            crops=crops,
            mattes=mattes,
            settings=settings.segment,
            device=tools.device,
            threads=tools.threads,
            segmenter=tools.segmenter,
        )
        return _pictures(Clip(crops), Clip(mattes), settings)


def _pictures(crops: Clip, mattes: Clip, settings: Preparation) -> Pictures:
    """The frames of a clip file that may be trained on, encoded anew; those whose matte has lost the face are not."""
    table = crops.table
    used = (table["role"] == "train") & (table["image"] != "") & ~(mattes.table["face_coverage"] < MIN_FACE_COVERAGE)
    names = table.loc[used, "image"].tolist()
    suffix, options = (".png", []) if settings.shard.format == "png" else (".jpg", _jpeg(settings.shard.quality))
    frames = [_encoded(suffix, cv2.cvtColor(crops.image(name), cv2.COLOR_RGB2BGR), options) for name in names]
    masks = [_encoded(".png", mattes.image(name), []) for name in names]
    return Pictures(frames, masks, crops.landmarks()[used.to_numpy()], suffix, settings.crop.size)


def _jpeg(quality: int) -> list[int]:
    # Colour at full resolution: halved, lips and eyes of a 256 px crop differ by up to 34 of 255, in place of 14.
    return [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def _encoded(suffix: str, pixels: np.ndarray, options: list[int]) -> bytes:
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def _media(path: Path) -> Iterator[Path]:
    """The files or folders that a clip is made of: itself, or the videos in it.

    Split files name videos without their suffix.
    """
    if not path.exists():
        yield next((file for suffix in VIDEO_SUFFIXES if (file := path.with_name(path.name + suffix)).exists()), path)
        return
    videos = (
        [file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")]
        if path.is_dir()
        else []
    )
    yield from sorted(videos, key=natural) or [path]


def _stamp(clip: dict[str, str]) -> str:
    """What a clip is made from; of folders their own time, which changes with the names in them, not every file's."""
    path = Path(clip["path"])
    masks = Path(*(MASKS if part == CROPPED else part for part in path.parts))
    found: list[str | int] = [clip["path"], clip["start"], clip["end"]]
    for file in dict.fromkeys((path, masks)):
        try:
            status = file.stat()
            found += [status.st_mtime_ns, status.st_size if file.is_file() else 0]
        except OSError:
            found.append(0)
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:12]
