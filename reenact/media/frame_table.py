"""The frame table of a clip: its frames with their exact times, and what each is used for."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import pandas as pd

from reenact.media.frames import Frame, Media
from reenact.media.probe import read_frames
from reenact.media.video import AFTER_DAMAGE, scan_duration
from reenact.runtime.errors import UserError
from reenact.settings.decode import DecodeSettings, read_time

COLUMNS = ["index", "time", "source_time", "duration", "role", "sharpness", "change", "reason", "notes"]

SHARPNESS_HEIGHT = 256
# Sharpness is compared with the median over this many seconds.
NEIGHBOURHOOD = 4.0
# Frames are compared at this size, in cells of an eighth of their sides: large enough for noise to cancel out, and
# small enough for a mouth that opens.
_COMPARED, _CELLS = 64, 8


@dataclass(frozen=True)
class _Row:
    index: int
    source_time: float
    stated_duration: float | None
    sharpness: float
    change: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Stretch:
    """The part of a clip that is used.

    Attributes:
        start, end: seconds from the first frame of the video, or such as "1:30" or "60%" of its duration; None = from
            the beginning, to the end. Ignored for photos.
        holdout: fraction of the stretch, at its end, that gets the role holdout, in [0, 1). Ignored for photos and
            drivers.
    """

    start: str | float | None = None
    end: str | float | None = None
    holdout: float = 0.0


def frame_table(
    media: Media,
    role: Literal["identity", "driver"],
    stretch: Stretch,
    settings: DecodeSettings,
    damage: list[str] | None = None,
    threads: int = 2,
) -> pd.DataFrame:
    """One row for each frame inside the stretch, in order of time.

    Args:
        media: from `probe`; a driver must be a video.
        role: "identity" frames are train, holdout or unused, those of a "driver" all drive.
        stretch: see `Stretch`.
        settings: see `DecodeSettings`.
        damage: gets one line for every damaged frame, which is left out.
        threads: of the decoder.

    Returns:
        The columns COLUMNS: index (of the frame in the file, from 0); time (s, from the first of the rows); source_time
        (s, as the file states it); duration (s); role (train, holdout, drive or unused); sharpness; change (of 255,
        against the last frame that differed; 255 for the first); reason (why a frame is unused); notes (what was done
        to this frame in particular).

    Raises:
        UserError: the media cannot be read, a driver is not a video, nothing lies inside the stretch, or no frame is
            left to train on.
    """
    if role == "driver" and media.kind != "video":
        raise UserError(f"{media.path}: a driver must be a video, and this is not; photos and crops can be identities")
    holdout = stretch.holdout
    if not 0 <= holdout < 1:
        raise UserError(f"holdout: {holdout} must be at least 0 and less than 1")
    rows, following = _read_rows(media, stretch, [] if damage is None else damage, settings.min_change, threads)
    table = _table(media, rows, following)
    if role == "driver":
        table["role"], table["reason"] = "drive", ""
    else:
        table["role"], table["reason"] = identity_roles(table, holdout if media.kind == "video" else 0.0, settings)
        if not (table["role"] == "train").any():
            raise UserError(
                f"{media.path}: holdout {holdout} leaves no frame to train on; the stretch has {len(table)}"
            )
    return table[COLUMNS]


def parse_time(value: str | float | None, name: str, media: Media) -> float | None:
    """Seconds from the first frame, of a setting such as 12.5, "1:30" or "60%" (of the duration).

    Raises:
        UserError: it is none of these, or negative, or more than 100 %.
    """
    if value is None:
        return None
    known = read_time(value)
    if known is None:
        raise UserError(
            f"{name}: {value!r} must be seconds from the beginning of the video, such as 90 or 1:30, "
            "or 0% to 100% of its duration"
        )
    number, percent = known
    return number / 100 * (media.duration or scan_duration(media)) if percent else number


def identity_roles(table: pd.DataFrame, holdout: float, settings: DecodeSettings) -> tuple[np.ndarray, np.ndarray]:
    """What each frame of an identity is used for, and why the unused ones are not.

    Frames that are blurred, repeat the one before, or may show traces of damage are not trained on. The stretch before
    the holdout is cut into `settings.max_frames` buckets of equal time (of photos: of equal number), and the sharpest
    frame of each is trained on: spread over the clip, yet without its blurred frames.

    Args:
        table: columns time (ascending from 0, s; all 0 for photos), duration, sharpness, change, notes.
        holdout: fraction of the stretch, by time, that is held out at its end.
        settings: see `DecodeSettings`.

    Returns:
        Roles (train, holdout or unused) and reasons ('' for used frames), one a row.
    """
    video = bool((table["duration"] > 0).any())
    position = table["time"].to_numpy(float) if video else np.arange(len(table), dtype=float)
    sharpness = table["sharpness"].to_numpy(float)
    total = position[-1] + (float(table["duration"].iloc[-1]) if video else 1.0)
    boundary = total * (1 - holdout)
    # A frame on the boundary is held out; the margin keeps rounding from deciding it.
    held = position >= boundary - 1e-6 if holdout else np.zeros(len(table), bool)
    roles = np.where(held, "holdout", "unused").astype(object)
    reasons = _unfit(table, video, settings)
    reasons[held] = ""
    candidates = np.flatnonzero(~held & (reasons == ""))
    if not len(candidates) and not held.all():
        candidates = np.flatnonzero(~held)
    if len(candidates) > settings.max_frames:
        reasons[candidates] = "a sharper frame near it is used"
        buckets = np.minimum(
            (position[candidates] / boundary * settings.max_frames).astype(int), settings.max_frames - 1
        )
        members = [candidates[buckets == bucket] for bucket in np.unique(buckets)]
        candidates = np.array([frames[np.argmax(sharpness[frames])] for frames in members])
    roles[candidates], reasons[candidates] = "train", ""
    return roles, reasons


def measure_sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian of a uint8 grey image; larger is sharper."""
    _, std = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(std[0, 0] ** 2)


def measure_change(before: np.ndarray, after: np.ndarray) -> float:
    """How much two small pictures of one size differ where they differ most, of 255: mean of an eighth by an eighth."""
    difference = cv2.absdiff(before, after).astype(np.float32)
    return float(cv2.resize(difference, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).max())


def _unfit(table: pd.DataFrame, video: bool, settings: DecodeSettings) -> np.ndarray:
    """Why frames should not be trained on, '' where nothing speaks against it."""
    reasons = np.full(len(table), "", object)
    sharpness = table["sharpness"].to_numpy(float)
    if video:
        # Only here: drivers do not wait for it.
        from scipy.ndimage import median_filter

        # Photos of different things cannot be compared.
        rate = len(table) / max(float(table["time"].iloc[-1]), 1e-3)
        usual = median_filter(sharpness, size=max(3, int(NEIGHBOURHOOD * rate)) | 1, mode="nearest")
        relative = sharpness / np.maximum(usual, 1e-6)
        blurred = relative < settings.min_sharpness
        reasons[blurred] = [f"blurred ({value:.2f} of the frames around)" for value in relative[blurred]]
    reasons[table["change"].to_numpy(float) < settings.min_change] = "like the frame before"
    reasons[table["notes"].str.contains(AFTER_DAMAGE, regex=False).to_numpy(bool)] = AFTER_DAMAGE
    return reasons


def _read_rows(
    media: Media, stretch: Stretch, damage: list[str], min_change: float, threads: int
) -> tuple[list[_Row], float | None]:
    """The frames inside [start, end), and the time of the first frame after them, if there is one."""
    video, start, end = media.kind == "video", stretch.start, stretch.end
    first = parse_time(start, "start", media) or 0.0 if video else 0.0
    last = parse_time(end, "end", media) if video else None
    if last is not None and last <= first:
        raise UserError(f"{media.path}: end {end} is not later than start {start}")
    rows: list[_Row] = []
    origin, before = None, None
    for frame in read_frames(media, damage, threads):
        origin = frame.time if origin is None else origin
        since = frame.time - origin
        if last is not None and since >= last - 1e-6:
            return rows, frame.time
        if since >= first - 1e-6:
            row, small = _measure(frame, before)
            rows.append(row)
            # A slow change adds up until it counts.
            before = small if before is None or row.change >= min_change else before
    if not rows:
        raise UserError(f"{media.path}: no frame lies after start {start}; the video ends after {since:.3f} s")
    return rows, None


def _measure(frame: Frame, before: np.ndarray | None) -> tuple[_Row, np.ndarray]:
    """The row of a frame, and the small picture that later frames are compared with."""
    grey = frame.grey(SHARPNESS_HEIGHT)
    small = cv2.resize(grey, (_COMPARED, _COMPARED), interpolation=cv2.INTER_AREA)
    change = 255.0 if before is None else measure_change(before, small)
    return _Row(frame.index, frame.time, frame.duration, measure_sharpness(grey), change, frame.notes), small


def _table(media: Media, rows: list[_Row], following: float | None) -> pd.DataFrame:
    if not rows:
        raise UserError(f"{media.path}: no frame lies between start and end")
    times = np.array([row.source_time for row in rows])
    if media.kind != "video":
        durations = np.zeros(len(rows))
    elif following is not None:
        durations = np.diff(times, append=following)
    else:
        durations = np.append(np.diff(times), 0.0)
        durations[-1] = _last_duration(media, rows[-1], durations[:-1])
    return pd.DataFrame(
        {
            "index": [row.index for row in rows],
            "time": times - times[0],
            "source_time": times,
            "duration": durations,
            "sharpness": [row.sharpness for row in rows],
            "change": [row.change for row in rows],
            "notes": ["; ".join(row.notes) for row in rows],
        }
    )


def _last_duration(media: Media, last: _Row, others: np.ndarray) -> float:
    """How long the last frame of the file is shown: as the file states it, else like the median frame."""
    if last.stated_duration:
        return last.stated_duration
    if len(others):
        return float(np.median(others))
    return 1 / media.fps if media.fps else 0.04
