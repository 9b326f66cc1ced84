"""Stage `decode`: the frames of one clip with their exact times, and what each is used for.

Only a table is written. Storing decoded pictures would cost disk and time for nothing: stage `crop`
streams through the media again and keeps the part that matters.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd

from reenact.errors import UserError
from reenact.files import write_text
from reenact.media import Media, probe, read_frames, scan_duration
from reenact.settings.decode import DecodeSettings

SHARPNESS_HEIGHT = 256


@dataclass(frozen=True)
class _Row:
    index: int
    source_time: float
    stated_duration: float | None
    sharpness: float


def decode_clip(
    *, media: Path, frames: Path, source: Path, role: Literal["identity", "driver"],
    start: str | float | None, end: str | float | None, holdout: float, settings: DecodeSettings,
) -> None:
    """Write the frame table of a clip and the facts about its media.

    The table has one row for each frame inside [start, end): index, time (s, from the first of them),
    source_time (s, as the file states it), duration (s), role (train, holdout, drive or unused) and sharpness.

    Args:
        media: a video; for an identity also an image or a folder of images.
        frames: the table to write (.csv).
        source: the facts to write (.json): kind, size, frames, fps, duration, start and end (times in the file, s),
            audio, number of damaged frames, what was done to the pictures.
        role: "identity" frames are train, holdout or unused, those of a "driver" all drive.
        start, end: seconds from the first frame of the video, or such as "60%" of its duration. Ignored for photos.
        holdout: share of the stretch, at its end, that gets the role holdout; in [0, 1). Ignored for photos.
        settings: see `DecodeSettings`.

    Raises:
        UserError: the media cannot be read, a driver is not a video, or nothing lies inside the stretch.
    """
    known = probe(media)
    if role == "driver" and known.kind == "photos":
        raise UserError(f"{media}: a driver must be a video, and this is not; photos can be identities")
    if not 0 <= holdout < 1:
        raise UserError(f"holdout: {holdout} must be at least 0 and less than 1")
    damage: list[str] = []
    rows, following = _read_rows(known, start, end, damage)
    table = _table(known, rows, following)
    if role == "driver":
        table["role"] = "drive"
    elif known.kind == "photos":
        table["role"] = "train"
    else:
        table["role"] = identity_roles(table["time"].to_numpy(), table["duration"].to_numpy(), table["sharpness"].to_numpy(), holdout, settings.max_frames)
        if not (table["role"] == "train").any():
            raise UserError(f"{media}: holdout {holdout} leaves no frame to train on; the stretch has {len(table)}")
    write_text(source, json.dumps(_facts(known, table, damage), indent=1) + "\n")
    write_text(frames, table[["index", "time", "source_time", "duration", "role", "sharpness"]].to_csv(index=False))


def parse_time(value: str | float | None, name: str, media: Media) -> float | None:
    """Seconds from the first frame, of a setting such as 12.5, "12.5" or "60%" (of the duration).

    Raises:
        UserError: it is neither, or negative, or more than 100 %.
    """
    if value is None:
        return None
    text = str(value).strip()
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = np.nan
    if not 0 <= number < np.inf or (percent and number > 100):
        raise UserError(f"{name}: {value!r} must be seconds from the beginning of the video, or 0% to 100% of its duration")
    if not percent:
        return number
    return number / 100 * (media.duration or scan_duration(media))


def identity_roles(times: np.ndarray, durations: np.ndarray, sharpness: np.ndarray, holdout: float, max_frames: int) -> np.ndarray:
    """What each frame of an identity's video is used for: train, holdout or unused.

    The stretch before the holdout is cut into `max_frames` buckets of equal time, and the sharpest frame of each
    is trained on: spread over the clip, yet without its blurred frames.

    Args:
        times, durations, sharpness: one value a frame; times ascend from 0, s.
        holdout: share of the stretch, by time, that is held out at its end.
        max_frames: most frames to train on.
    """
    total = times[-1] + durations[-1]
    boundary = total * (1 - holdout)
    # A frame on the boundary is held out; the margin keeps rounding from deciding it.
    held = times >= boundary - 1e-6 if holdout else np.zeros(len(times), bool)
    roles = np.where(held, "holdout", "unused").astype(object)
    candidates = np.flatnonzero(~held)
    if len(candidates) <= max_frames:
        roles[candidates] = "train"
        return roles
    buckets = np.minimum((times[candidates] / boundary * max_frames).astype(int), max_frames - 1)
    for bucket in np.unique(buckets):
        members = candidates[buckets == bucket]
        roles[members[np.argmax(sharpness[members])]] = "train"
    return roles


def measure_sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian of a uint8 grey image; larger is sharper."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _read_rows(media: Media, start: str | float | None, end: str | float | None, damage: list[str]) -> tuple[list[_Row], float | None]:
    """The frames inside [start, end), and the time of the first frame after them, if there is one."""
    video = media.kind == "video"
    first = parse_time(start, "start", media) or 0.0 if video else 0.0
    last = parse_time(end, "end", media) if video else None
    if last is not None and last <= first:
        raise UserError(f"{media.path}: end {end} is not later than start {start}")
    rows: list[_Row] = []
    origin = None
    for frame in read_frames(media, damage):
        origin = frame.time if origin is None else origin
        since = frame.time - origin
        if last is not None and since >= last - 1e-6:
            return rows, frame.time
        if since >= first - 1e-6:
            rows.append(_Row(frame.index, frame.time, frame.duration, measure_sharpness(frame.grey(SHARPNESS_HEIGHT))))
    if not rows:
        raise UserError(f"{media.path}: no frame lies after start {start}; the video ends after {since:.3f} s")
    return rows, None


def _table(media: Media, rows: list[_Row], following: float | None) -> pd.DataFrame:
    if not rows:
        raise UserError(f"{media.path}: no frame lies between start and end")
    times = np.array([row.source_time for row in rows])
    if media.kind == "photos":
        durations = np.zeros(len(rows))
    elif following is not None:
        durations = np.diff(times, append=following)
    else:
        durations = np.append(np.diff(times), 0.0)
        durations[-1] = _last_duration(media, rows[-1], durations[:-1])
    return pd.DataFrame({
        "index": [row.index for row in rows],
        "time": times - times[0],
        "source_time": times,
        "duration": durations,
        "sharpness": [row.sharpness for row in rows],
    })


def _last_duration(media: Media, last: _Row, others: np.ndarray) -> float:
    """How long the last frame of the file is shown: as the file states it, else like the median frame."""
    if last.stated_duration:
        return last.stated_duration
    if len(others):
        return float(np.median(others))
    return 1 / media.fps if media.fps else 0.04


def _facts(media: Media, table: pd.DataFrame, damage: list[str]) -> dict[str, object]:
    video = media.kind == "video"
    duration = float(table["time"].iloc[-1] + table["duration"].iloc[-1])
    begin = float(table["source_time"].iloc[0])
    steps = list(media.steps)
    if damage:
        steps.append(f"{len(damage)} damaged left out: {'; '.join(damage[:5])}{' ...' if len(damage) > 5 else ''}")
    return {
        "media": str(media.path), "kind": media.kind, "width": media.width, "height": media.height,
        "frames": len(table), "fps": len(table) / duration if video else None, "duration": duration,
        "start": begin, "end": begin + duration, "audio": media.audio, "damaged_frames": len(damage), "steps": steps,
    }
