"""The table of a clip's crops: which square of which frame, how well the face is seen in it, and why where it is not.

Its columns (COLUMNS) are those of stage `decode`, and:

image, matte: files in the clip; '' if the frame is dropped, or if no matte came with it.
status: tracked, interpolated, held (at the nearest square), or dropped.
reason: why the face is not tracked (no face, too small, another person), or why the frame is dropped (blurred, cut off,
turned away).
x, y, side, angle: the square (`reenact.faces.square`): its top left corner and its side before it is turned, px of the
frame, and the angle by which it is turned about its middle, degrees clockwise.
raw_x, raw_y, raw_side: the square before smoothing.
frame_width, frame_height, face_height: px.
confidence: of the detector, 0 where the face was not seen.
scene: number of the scene, from 0.
sharpness; yaw, pitch, roll (degrees); cut_off (fraction of the face box outside of the frame): see `write_quality`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from reenact.faces.detection import ClipFaces, Detection
from reenact.faces.landmarks import head_angles
from reenact.faces.square import square_columns, squares_of
from reenact.faces.square_path import fill_gaps, smooth, to_squares, to_states
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings

COLUMNS = [
    "index",
    "time",
    "source_time",
    "duration",
    "role",
    "image",
    "status",
    "reason",
    "x",
    "y",
    "side",
    "frame_width",
    "frame_height",
    "face_height",
    "confidence",
    "angle",
    "raw_x",
    "raw_y",
    "raw_side",
    "scene",
    "sharpness",
    "yaw",
    "pitch",
    "roll",
    "cut_off",
    "matte",
]
QUALITY = ["sharpness", "yaw", "pitch", "roll", "cut_off"]


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


def table_of_crops(
    table: pd.DataFrame, seen: ClipFaces, chosen: dict[int, Detection], masks: tuple[Path | None, ...]
) -> pd.DataFrame:
    """The table of pictures that are crops already: the square is the middle of the picture, and none is dropped.

    Args:
        table: frame table.
        seen: all faces.
        chosen: the person's, by row.
        masks: of each picture of the media its mask, or None.
    """
    table = table.copy()
    side = seen.size.min(axis=1)
    for column, name in enumerate(("x", "y")):
        table[name] = table[f"raw_{name}"] = (seen.size[:, column] - side) / 2
    table["side"] = table["raw_side"] = side
    table[["frame_width", "frame_height"]] = seen.size.astype(int)
    table["angle"], table["scene"], table["status"], table["reason"] = 0.0, 0, "tracked", ""
    write_quality(table, seen, chosen)
    heights = {row: detection.box[3] - detection.box[1] for row, detection in chosen.items()}
    table["face_height"] = [heights.get(row, np.nan) for row in range(len(table))]
    table["image"] = [f"{index:06d}.png" for index in table["index"]]
    table["matte"] = [f"{index:06d}.matte.png" if masks[index] else "" for index in table["index"]]
    return table[(table["role"] != "unused").to_numpy()].reset_index(drop=True)[COLUMNS]


def write_quality(table: pd.DataFrame, seen: ClipFaces, chosen: dict[int, Detection]) -> None:
    """Add the columns QUALITY and confidence to a table; NaN, and confidence 0, where the person was not seen.

    Sharpness; yaw, pitch, roll, degrees; cut_off, the fraction of the face box that lies outside of the frame.

    Args:
        table: all rows.
        seen: all faces.
        chosen: the person's, by row.
    """
    values = np.full((len(table), len(QUALITY) + 1), np.nan)
    values[:, -1] = 0
    if chosen:
        rows, detections = list(chosen), list(chosen.values())
        boxes = np.stack([detection.box for detection in detections])
        inner = np.maximum(np.minimum(boxes[:, 2:], seen.size[rows]) - np.maximum(boxes[:, :2], 0), 0)
        values[rows, 0] = [detection.sharpness for detection in detections]
        values[rows, 1:4] = head_angles(np.stack([detection.landmarks for detection in detections]))
        values[rows, 4] = 1 - inner.prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        values[rows, 5] = [detection.confidence for detection in detections]
    table[[*QUALITY, "confidence"]] = values


def jitter(table: pd.DataFrame) -> dict[str, float]:
    """How restless the squares are: the root mean square of the second difference from frame to frame.

    Args:
        table: of stage `crop`.

    Returns:
        centre_before, centre_after: of the squares' centres, relative to the face height; scale_before, scale_after: of
        the logarithm of their sides. "Before" is before smoothing. NaN without three tracked frames in a row.
    """
    tracked = (table["status"] == "tracked").to_numpy()
    index, scene = table["index"].to_numpy(), table["scene"].to_numpy()
    follows = tracked[1:] & tracked[:-1] & (np.diff(index) == 1) & (np.diff(scene) == 0)
    thrice = np.flatnonzero(follows[1:] & follows[:-1])
    result = {}
    for when, names in (("before", ("raw_x", "raw_y", "raw_side")), ("after", ("x", "y", "side"))):
        x, y, side = (table[name].to_numpy(float) for name in names)
        middles = np.column_stack([x + side / 2, y + side / 2]) / table["face_height"].to_numpy(float)[tracked].mean()
        for what, values in (("centre", middles), ("scale", np.log(side)[:, None])):
            second = np.diff(values, n=2, axis=0)[thrice]
            result[f"{what}_{when}"] = float(np.sqrt((second**2).sum(axis=1).mean())) if len(thrice) else np.nan
    return result


def landmarks_in_crops(table: pd.DataFrame, landmarks: dict[int, np.ndarray]) -> np.ndarray:
    """Landmarks of every row as fractions of its square's side, N x 68 x 2; NaN where the face was not seen.

    Args:
        table: of stage `crop`.
        landmarks: 68 x 2, px of the frame, by the frame's index.
    """
    result = np.full((len(table), 68, 2), np.nan)
    for row, (index, square) in enumerate(zip(table["index"].tolist(), squares_of(table), strict=True)):
        if index in landmarks:
            result[row] = square.to_crop(landmarks[index], 1)
    return result


def describe_rows(table: pd.DataFrame, rows: range | list[int]) -> str:
    """Rows of a frame table in words, e.g. "frames 0 to 94 (95 frames, 3.2 s)"."""
    first, last = table.iloc[rows[0]], table.iloc[rows[-1]]
    if len(rows) == 1:
        return f"frame {first['index']}"
    seconds = last["time"] + last["duration"] - first["time"]
    return f"frames {first['index']} to {last['index']} ({len(rows)} frames{f', {seconds:.1f} s' if seconds else ''})"


def hint(settings: CropSettings) -> str:
    """What to do when no face is found."""
    return (
        f"Faces must be at least crop.min_face = {settings.min_face} px high and found with "
        f"crop.min_confidence = {settings.min_confidence}; use other media, or another start and end."
    )


# ---- parts of the table -------------------------------------------------------------------------------------


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
