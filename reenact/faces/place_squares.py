"""From the faces of a clip to its squares: frames without the face, smoothing over time, frames that are dropped.

Detections become states (`square_path.to_states`), gaps are filled and states smoothed, and states become squares again
(`square_path.to_squares`), around each face as `square.box_square` or `square.ffhq_square` says.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from reenact.faces.crop_table import COLUMNS, describe_rows, write_quality
from reenact.faces.detection import ClipFaces, Detection
from reenact.faces.square import square_columns
from reenact.faces.square_path import fill_gaps, smooth, to_squares, to_states
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings


def place_squares(
    media: Path, table: pd.DataFrame, seen: ClipFaces, chosen: dict[int, Detection], settings: CropSettings, video: bool
) -> pd.DataFrame:
    """The table of the crops of a clip, for its used rows, with the columns COLUMNS.

    Args:
        media: named in messages.
        table: frame table of stage `decode`.
        seen: all faces.
        chosen: the person's, by row; at least one.
        settings: see `CropSettings`.
        video: whether the rows follow each other in time.

    Raises:
        UserError: the face is away for too long, or no frame is left.
    """
    table = table.copy()
    driver = bool((table["role"] == "drive").any())
    policy = settings.no_face.drivers if driver else settings.no_face.identities
    if policy == "fail" or (video and policy != "drop"):
        _check_gaps(media, table, seen, chosen, 0.0 if policy == "fail" else settings.max_gap)
    table["status"] = ["tracked" if row in chosen else "dropped" for row in range(len(table))]
    table["reason"] = ["" if row in chosen else _reason(seen, row) for row in range(len(table))]
    table["scene"] = seen.scene
    table[["frame_width", "frame_height"]] = seen.size.astype(int)
    rows = np.array(sorted(chosen))
    raw = states = to_states([chosen[int(row)] for row in rows], settings)
    table.loc[rows, ["raw_x", "raw_y", "raw_side"]] = square_columns(to_squares(raw))[:, :3]
    if video:
        times = table["source_time"].to_numpy(float)
        if policy in ("hold", "interpolate"):
            short = settings.short_gap if policy == "interpolate" else 0.0
            states, table["status"] = fill_gaps(times, rows, raw, seen.scene, short)
            rows = np.arange(len(table))
        states = _smooth_in_scenes(times[rows], states, seen.scene[rows], settings.smoothing)
    _write_squares(table, rows, states, whole=settings.geometry == "published")
    write_quality(table, seen, chosen)
    if not driver:
        _drop_poor(table, settings)
    table["matte"] = ""
    kept = table["status"] != "dropped"
    table["image"] = [f"{index:06d}.png" if keep else "" for index, keep in zip(table["index"], kept, strict=True)]
    table = table[(table["role"] != "unused").to_numpy()].reset_index(drop=True)
    if not (table["image"] != "").any():
        counts = ", ".join(f"{reason} in {count}" for reason, count in table["reason"].value_counts().items())
        where = describe_rows(table, range(len(table)))
        raise UserError(f"{media}: {where}: no frame with a usable face ({counts}). {hint(settings)}")
    return table[COLUMNS]


def hint(settings: CropSettings) -> str:
    """What to do when no face is found."""
    return (
        f"Faces must be at least crop.min_face = {settings.min_face} px high and found with "
        f"crop.min_confidence = {settings.min_confidence}; use other media, or another start and end."
    )


def _smooth_in_scenes(times: np.ndarray, states: np.ndarray, scenes: np.ndarray, sigma: float) -> np.ndarray:
    """Centres, sides and angles smoothed within each scene; the heights of faces are left as they are."""
    smoothed = states.copy()
    for scene in np.unique(scenes):
        inside = scenes == scene
        smoothed[inside, :4] = smooth(times[inside], states[inside, :4], sigma)
    return smoothed


def _write_squares(table: pd.DataFrame, rows: np.ndarray, states: np.ndarray, whole: bool) -> None:
    """Add the squares (of whole pixels, if `whole`) and the heights of faces to these rows of a table."""
    squares = [square.whole_pixels() if whole else square for square in to_squares(states)]
    values = np.full((len(table), 5), np.nan)
    values[rows] = np.column_stack([square_columns(squares), states[:, 4]])
    table[["x", "y", "side", "angle", "face_height"]] = values


def _gaps(seen: ClipFaces, chosen: dict[int, Detection]) -> Iterator[list[int]]:
    """The rows of each pause of the person; frames at which nobody looked do not count."""
    gap: list[int] = []
    for row, faces in enumerate(seen.faces):
        if row in chosen:
            if gap:
                yield gap
            gap = []
        elif faces is not None:
            gap.append(row)
    if gap:
        yield gap


def _check_gaps(
    media: Path, table: pd.DataFrame, seen: ClipFaces, chosen: dict[int, Detection], max_gap: float
) -> None:
    """Stop if the person is away for longer than `max_gap` s (0: from any used frame)."""
    problems = []
    for gap in _gaps(seen, chosen):
        first, last = table.iloc[gap[0]], table.iloc[gap[-1]]
        length = last["time"] + last["duration"] - first["time"]
        if (length > max_gap or not max_gap) and (table["role"].iloc[gap] != "unused").any():
            problems.append(_describe_gap(table, seen, gap))
    if not problems:
        return
    listed = "; ".join(problems)
    if max_gap:
        raise UserError(
            f"{media}: the face is missing for longer than crop.max_gap = {max_gap} s: {listed}. "
            "Choose a stretch with start and end, or raise crop.max_gap."
        )
    raise UserError(
        f"{media}: the face is missing, and crop.no_face is 'fail': {listed}. "
        "Choose a stretch with start and end, or another crop.no_face."
    )


def _describe_gap(table: pd.DataFrame, seen: ClipFaces, gap: list[int]) -> str:
    """A pause of the person in words, with what else was seen meanwhile."""
    notes = [f"a scene cut at {table['time'].iloc[c]:.2f} s" for c in seen.cuts if gap[0] <= c <= gap[-1] + 1]
    others = sum(bool(seen.faces[row]) for row in gap)
    if others:
        notes.append(f"another person in {others} of them")
    return describe_rows(table, gap) + (f" [{', '.join(notes)}]" if notes else "")


def _reason(seen: ClipFaces, row: int) -> str:
    """Why the person is not tracked in a frame."""
    if seen.faces[row]:
        return "another person"
    return "too small" if seen.too_small[row] else "no face"


def _drop_poor(table: pd.DataFrame, settings: CropSettings) -> None:
    """Drop frames of an identity whose face is poor, and say why."""
    limits = (
        ("blurred", table["sharpness"] < settings.min_sharpness),
        ("cut off", table["cut_off"] > settings.max_cut_off),
        ("turned away", table["yaw"].abs() > settings.max_yaw),
    )
    for reason, poor in limits:
        poor &= table["status"] != "dropped"
        table.loc[poor, "reason"] = reason
        table.loc[poor, "status"] = "dropped"
