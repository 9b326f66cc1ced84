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

from pathlib import Path

import numpy as np
import pandas as pd

from reenact.faces.detection import ClipFaces, Detection
from reenact.faces.landmarks import head_angles
from reenact.faces.square import squares_of

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


# ---- parts of the table -------------------------------------------------------------------------------------
