"""Stage `crop`: a square around the face of one person, followed through the whole clip.

The media are streamed twice: once to find faces, of which only boxes, landmarks and thumbnails are kept (`tracking`),
and, when the whole way of the face is known, once more to cut the squares out. Coordinates are continuous: pixel i of a
frame covers [i, i + 1).
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from reenact.clip import write_clip
from reenact.errors import UserError
from reenact.faces import FaceFinder
from reenact.media import Media, probe
from reenact.settings.crop import CropSettings
from reenact.tracking import Sighting, Sightings, choose_in_photos, choose_person, find_faces, listed_frames

COLUMNS = [
    "index", "time", "source_time", "duration", "role", "image", "status", "reason",
    "x", "y", "side", "frame_width", "frame_height", "face_height", "confidence",
]


def crop_clip(*, media: Path, frames: Path, crops: Path, settings: CropSettings) -> None:
    """Write the crops of one clip: `settings.size` square RGB images, and where in its frame each comes from.

    The table has the columns COLUMNS: those of stage `decode`; image (file in the clip, '' if dropped); status
    (tracked, interpolated, held, dropped); reason (why not tracked); x, y, side (the square's top left corner and side in
    the frame, px); frame_width, frame_height, face_height (px); confidence (0 where the face was not seen).
    A driver keeps all its frames, an identity those in which its person is seen.

    Raises:
        UserError: nobody is found, or a driver's face is away for longer than `settings.max_gap`.
    """
    known = probe(media)
    table = pd.read_csv(frames, keep_default_na=False)
    with FaceFinder(min_confidence=settings.min_confidence) as finder:
        seen = find_faces(known, table, finder, settings.min_face)
    if known.kind == "photos":
        chosen = choose_in_photos(seen, settings.face)
    else:
        chosen = choose_person(seen, table["source_time"].to_numpy(), settings.face)
    if not chosen:
        raise UserError(f"{media}: {describe_rows(table, range(len(table)))}: no face found. {_hint(settings)}")
    marks = {int(table["index"].iloc[row]): sighting.landmarks for row, sighting in chosen.items()}
    table = _place_squares(known, table, seen, chosen, settings)
    with write_clip(crops) as clip:
        for name, image in _cut_out(known, table, settings.size):
            clip.add(name, image)
        clip.add_landmarks(_landmarks_in_crops(table, marks))
        clip.finish(table[COLUMNS])


def describe_rows(table: pd.DataFrame, rows: range | list[int]) -> str:
    """Rows of a frame table in words, e.g. "frames 0 to 94 (95 frames, 3.2 s)"."""
    first, last = table.iloc[rows[0]], table.iloc[rows[-1]]
    if len(rows) == 1:
        return f"frame {first['index']}"
    seconds = last["time"] + last["duration"] - first["time"]
    return f"frames {first['index']} to {last['index']} ({len(rows)} frames{f', {seconds:.1f} s' if seconds else ''})"


def _hint(settings: CropSettings) -> str:
    """What to do when no face is found."""
    return (
        f"Faces must be at least crop.min_face = {settings.min_face} px high and found with "
        f"crop.min_confidence = {settings.min_confidence}; use other media, or another start and end."
    )


# ---- geometry -----------------------------------------------------------------------------------------------


def crop_square(image: np.ndarray, x: float, y: float, side: float, size: int) -> np.ndarray:
    """Cut a square out of a picture and resize it; exact to fractions of a pixel, so that smooth squares look smooth.

    Enlarging is bicubic, reducing averages areas. Where the square leaves the picture it is padded as FFHQ does
    (Karras et al., CVPR 2019, `recreate_aligned_images`): by reflection that fades into its blur and then into the
    mean colour, here starting at the very border, so that no real pixel is changed.

    Args:
        image: uint8, H x W x 3.
        x, y: top left corner of the square, px.
        side: its side, px.
        size: side of the result, px.

    Returns:
        uint8, size x size x 3.
    """
    finer = max(1, int(np.ceil(side / size - 1e-6)))
    fine = size * finer
    step = side / fine
    # warpAffine has pixel centres at whole numbers. To reduce, the square is first sampled at least as finely as the
    # frame itself, where straight lines between pixels will do, at a third of the cost of cubic ones.
    back = np.array([[step, 0, x + step / 2 - 0.5], [0, step, y + step / 2 - 0.5]])
    kernel = cv2.INTER_CUBIC if finer == 1 else cv2.INTER_LINEAR
    result = cv2.warpAffine(image, back, (fine, fine), flags=kernel | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101)
    if finer > 1:
        result = cv2.resize(result, (size, size), interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    if x < 0 or y < 0 or x + side > width or y + side > height:
        result = _fade_outside(result, x, y, side, width, height)
    return result


def _fade_outside(crop: np.ndarray, x: float, y: float, side: float, width: int, height: int) -> np.ndarray:
    """Fade what lies outside of the frame (already filled by reflection) into its blur and then into a mean colour."""
    size = crop.shape[0]
    steps = (np.arange(size) + 0.5) * side / size
    beyond_x = np.maximum(np.maximum(-(x + steps), x + steps - width), 0)
    beyond_y = np.maximum(np.maximum(-(y + steps), y + steps - height), 0)
    depth = np.maximum(beyond_x[None, :], beyond_y[:, None]) / (0.3 * side)
    inside = (depth == 0).astype(np.uint8)
    colour = np.float32(cv2.mean(crop, inside if inside.any() else None)[:3])
    # The blur is wide, so it may be made from a small copy.
    small = cv2.resize(crop, (max(1, size // 4), max(1, size // 4)), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(small, (0, 0), 0.005 * size), (size, size), interpolation=cv2.INTER_LINEAR)
    result = crop.copy()
    outside = inside == 0
    away = depth[outside][:, None].astype(np.float32)
    pixels = crop[outside].astype(np.float32)
    pixels += (blurred[outside] - pixels) * np.minimum(3 * away, 1)
    pixels += (colour - pixels) * np.minimum(away, 1)
    result[outside] = np.rint(pixels)
    return result


def to_frame(points: np.ndarray, x: float, y: float, side: float, size: int) -> np.ndarray:
    """Points of a crop (..., 2; px) as points of the frame that it was cut from."""
    return np.asarray(points) * (side / size) + np.array([x, y])


def to_crop(points: np.ndarray, x: float, y: float, side: float, size: int) -> np.ndarray:
    """Points of a frame (..., 2; px) as points of the crop with this square; inverse of `to_frame`."""
    return (np.asarray(points) - np.array([x, y])) * (size / side)


def smooth(times: np.ndarray, values: np.ndarray, sigma: float) -> np.ndarray:
    """Zero-phase Gaussian smoothing at uneven times: a weighted straight line is fitted around each of them.

    A line rather than a mean, because a mean is biased at both ends of a clip, where one side is missing.

    Args:
        times: N, ascending, s.
        values: N x C.
        sigma: standard deviation of the weights, s; 0 returns the values.
    """
    if sigma <= 0 or len(times) < 2:
        return np.array(values, float)
    result = np.empty(np.shape(values))
    first = np.searchsorted(times, times - 4 * sigma)
    last = np.searchsorted(times, times + 4 * sigma, side="right")
    for i in range(len(times)):
        away = times[first[i]:last[i]] - times[i]
        near = values[first[i]:last[i]]
        weight = np.exp(-0.5 * (away / sigma) ** 2)
        total, lean, spread = weight.sum(), (weight * away).sum(), (weight * away**2).sum()
        determinant = total * spread - lean**2
        # Nearly alone in time: no slope can be told.
        if determinant > 1e-3 * (total * sigma) ** 2:
            weight = weight * (spread - lean * away) / determinant
        else:
            weight = weight / total
        result[i] = weight @ near
    return result


def fill_gaps(times: np.ndarray, rows: np.ndarray, states: np.ndarray, cuts: list[int]) -> tuple[np.ndarray, list[str]]:
    """Values for every row from those of some: straight lines between, held at the ends and at scene cuts.

    Args:
        times: of all rows, s.
        rows: the K rows that have values, ascending.
        states: their values, K x C.
        cuts: rows that begin a new scene.

    Returns:
        The values of all rows, N x C, and for each row "tracked", "interpolated" or "held".
    """
    scene = np.searchsorted(cuts, np.arange(len(times)), side="right")
    filled = np.empty((len(times), states.shape[1]))
    status = ["tracked"] * len(times)
    for row in range(len(times)):
        position = int(np.searchsorted(rows, row))
        if position < len(rows) and rows[position] == row:
            filled[row] = states[position]
            continue
        sides = [p for p in (position - 1, position) if 0 <= p < len(rows)]
        near = [p for p in sides if scene[rows[p]] == scene[row]] or sides
        if len(near) == 2 and scene[rows[near[0]]] == scene[rows[near[1]]]:
            start, end = times[rows[near[0]]], times[rows[near[1]]]
            share = (times[row] - start) / (end - start)
            filled[row] = (1 - share) * states[near[0]] + share * states[near[1]]
            status[row] = "interpolated"
        else:
            filled[row] = states[min(near, key=lambda p: abs(times[rows[p]] - times[row]))]
            status[row] = "held"
    return filled, status


# ---- squares ------------------------------------------------------------------------------------------------


def _place_squares(media: Media, table: pd.DataFrame, seen: Sightings, chosen: dict[int, Sighting], settings: CropSettings) -> pd.DataFrame:
    """The table of the crops: which square of which frame, and what happened to frames without the face."""
    table = table.copy()
    count = len(table)
    table["status"] = ["tracked" if row in chosen else "dropped" for row in range(count)]
    table["reason"] = ["" if row in chosen else _reason(seen.faces[row]) for row in range(count)]
    table["confidence"] = [chosen[row].confidence if row in chosen else 0.0 for row in range(count)]
    rows = np.array(sorted(chosen))
    boxes = np.stack([chosen[row].box for row in rows])
    spans = boxes[:, 2:] - boxes[:, :2]
    # Centre, logarithm of the longer side (sizes change by factors) and face height.
    states = np.column_stack([(boxes[:, :2] + boxes[:, 2:]) / 2, np.log(spans.max(axis=1)), spans[:, 1]])
    times = table["source_time"].to_numpy(float)
    if (table["role"] == "drive").any():
        _check_gaps(media, table, seen, chosen, settings)
        states, status = fill_gaps(times, rows, states, seen.cuts)
        table["status"] = status
        rows = np.arange(count)
    scene = np.searchsorted(seen.cuts, rows, side="right")
    paths = states.copy()
    for number in np.unique(scene) if media.kind == "video" else []:
        inside = scene == number
        paths[inside, :3] = smooth(times[rows[inside]], states[inside, :3], settings.smoothing)
    side = np.exp(paths[:, 2]) * settings.scale
    square = np.column_stack([paths[:, 0] - side / 2, paths[:, 1] - side / 2, side, paths[:, 3]])
    for column, name in enumerate(["x", "y", "side", "face_height"]):
        table.loc[rows, name] = square[:, column]
    table[["frame_width", "frame_height"]] = seen.size.astype(int)
    used = (table["role"] != "unused").to_numpy()
    table["image"] = [f"{index:06d}.png" if status != "dropped" else "" for index, status in zip(table["index"], table["status"])]
    table = table[used].reset_index(drop=True)
    if not (table["image"] != "").any():
        raise UserError(f"{media.path}: {describe_rows(table, range(len(table)))}: no face found. {_hint(settings)}")
    return table


def _reason(found: list[Sighting] | None) -> str:
    """Why the person is not tracked in a frame in which these faces were found."""
    return "another person" if found else "no face"


def _check_gaps(media: Media, table: pd.DataFrame, seen: Sightings, chosen: dict[int, Sighting], settings: CropSettings) -> None:
    """Stop if a driver's person is away for longer than `max_gap`."""
    gap: list[int] = []
    problems = []
    for row in range(len(table) + 1):
        if row < len(table) and row not in chosen:
            gap.append(row)
            continue
        if gap:
            last = table.iloc[gap[-1]]
            if last["time"] + last["duration"] - table["time"].iloc[gap[0]] > settings.max_gap:
                others = sum(bool(seen.faces[r]) for r in gap)
                cut = [f"a scene cut at {table['time'].iloc[c]:.2f} s" for c in seen.cuts if gap[0] <= c <= gap[-1] + 1]
                notes = cut + ([f"another person in {others} of them"] if others else [])
                problems.append(describe_rows(table, gap) + (f" [{', '.join(notes)}]" if notes else ""))
        gap = []
    if problems:
        raise UserError(
            f"{media.path}: the face is missing for longer than crop.max_gap = {settings.max_gap} s: {'; '.join(problems)}. "
            "Choose a stretch with start and end, or raise crop.max_gap."
        )


def _landmarks_in_crops(table: pd.DataFrame, marks: dict[int, np.ndarray]) -> np.ndarray:
    """Landmarks of every row as shares of its square, N x 68 x 2; NaN where the face was not seen."""
    result = np.full((len(table), 68, 2), np.nan)
    for row, (index, x, y, side) in enumerate(table[["index", "x", "y", "side"]].itertuples(index=False)):
        if int(index) in marks:
            result[row] = to_crop(marks[int(index)], x, y, side, 1)
    return result


# ---- second pass: pictures ----------------------------------------------------------------------------------


def _cut_out(media: Media, table: pd.DataFrame, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and picture of each crop."""
    wanted = table[table["image"] != ""].reset_index(drop=True)
    # Where the squares are several times larger than the crops, frames are reduced while they are converted.
    reduce = max(1, int(wanted["side"].median() / size)) if media.kind == "video" else 1
    for row, frame in listed_frames(media, wanted):
        image = frame.pixels(None if reduce == 1 else round(max(frame.width, frame.height) / reduce))
        place = wanted.loc[row]
        across, down = image.shape[1] / frame.width, image.shape[0] / frame.height
        crop = crop_square(image, place["x"] * across, place["y"] * down, place["side"] * across, size)
        yield place["image"], crop
