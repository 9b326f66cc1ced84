"""Stage `crop`: a square around the face of one person, followed through the whole clip.

The media are streamed twice (short ones stay decoded in between): once to find faces, of which only boxes, landmarks and
thumbnails are kept (`tracking`), and, when the whole way of the face is known, once more to cut the squares out. Both passes decode in one thread and
work in others, on a few frames at a time; the results are those of a plain loop.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reenact.data.clip import write_clip
from reenact.data.png import encode_png
from reenact.faces.crop_pixels import centre_crop, crop_published, crop_square
from reenact.faces.crop_table import (
    COLUMNS,
    describe_rows,
    hint,
    jitter,
    landmarks_in_crops,
    place_squares,
    write_quality,
)
from reenact.faces.detectors import Detector, open_detectors
from reenact.faces.person import choose_in_photos, choose_person
from reenact.faces.square import Square, squares_of
from reenact.faces.tracking import Sighting, Sightings, find_faces
from reenact.media.probe import Frame, Passes, probe
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import cpu_threads, in_order, opencv_in_one_thread
from reenact.settings.crop import CropSettings


@opencv_in_one_thread()
def crop_clip(
    *,
    media: Path,
    frames: Path,
    crops: Path,
    settings: CropSettings,
    device: str = "auto",
    threads: int = 1,
    detectors: list[Detector] | None = None,
) -> None:
    """Write the crops of one clip: `settings.size` square RGB images, and where in its frame each comes from.

    The table has the columns COLUMNS: those of stage `decode`; image (file in the clip, '' if dropped); status
    (tracked, interpolated, held, dropped); reason (why not tracked: no face, too small, another person; or why dropped:
    blurred, cut off, turned away); x, y, side (top left corner and side of the square before it is turned, px of the
    frame); angle (by which it is turned about its middle, degrees clockwise); raw_x, raw_y, raw_side (before smoothing);
    frame_width, frame_height, face_height (px); confidence (0 where the face was not seen); scene (from 0);
    sharpness, yaw, pitch, roll (degrees), cut_off (share of the face box outside of the frame); matte (file in the
    clip, for media that came with mattes). A driver keeps all its frames, an identity those in which its person is
    seen well enough. Crops of the published layout pass through as they are.

    Args:
        media: video, photo, folder of photos, or folder of crops.
        frames: frame table of stage `decode`.
        crops: clip to write.
        settings: see `CropSettings`.
        device: of face-alignment's networks: "auto", "cpu", "cuda", "cuda:1" or "mps".
        threads: how many frames are worked on at a time; 0 = as many as there are cores.
        detectors: that `open_detectors` opened for as many threads, where many clips are cropped; None = opened here.

    Raises:
        UserError: nobody is found, the person asked for is not there, or a face is away for longer than allowed.
    """
    known = probe(media)
    table = pd.read_csv(frames, keep_default_na=False)
    workers, passes = cpu_threads(threads), Passes(known)
    with open_detectors(settings, device, workers) if detectors is None else nullcontext(detectors) as finders:
        seen = find_faces(passes, table, finders, 1 if known.kind == "cropped" else settings.min_face, workers)
    if known.kind == "cropped":
        chosen, people = choose_in_photos(seen, "largest")
        placed = _as_they_are(table, seen, chosen)
    else:
        choose = choose_person if known.kind == "video" else _choose_photos
        chosen, people = choose(seen, table["source_time"].to_numpy(float), settings.face)
        if not chosen:
            why = (
                "no face found"
                if not seen.too_low.any()
                else f"no face found that is high enough (the highest: {seen.too_low.max():.0f} px)"
            )
            raise UserError(f"{media}: {describe_rows(table, range(len(table)))}: {why}. {hint(settings)}")
        placed = place_squares(media, table, seen, chosen, settings, known.kind == "video")
    marks = {
        int(index): sighting.landmarks
        for index, sighting in zip(table["index"].to_numpy()[list(chosen)], chosen.values())
    }
    with write_clip(crops) as clip:
        for place, crop, matte in _encoded(passes, placed, settings, workers):
            clip.add_encoded(place["image"], crop)
            if matte is not None:
                name = f"{Path(place['image']).stem}.matte.png"
                clip.add_encoded(name, matte)
                placed.loc[placed["image"] == place["image"], "matte"] = name
        clip.add_landmarks(landmarks_in_crops(placed, marks))
        clip.finish(placed)
    _report(media, placed, people)
    for row in seen.cuts:
        print(f"  scene {seen.scene[row]} begins at {table['time'].iloc[row]:.3f} s")


def _choose_photos(seen: Sightings, times: np.ndarray, face: str) -> tuple[dict[int, Sighting], str]:
    return choose_in_photos(seen, face)


def _as_they_are(table: pd.DataFrame, seen: Sightings, chosen: dict[int, Sighting]) -> pd.DataFrame:
    """The table of pictures that are crops already: the square is the whole picture, and none is dropped."""
    table = table.copy()
    side = seen.size.min(axis=1)
    for column, name in enumerate(("x", "y")):
        table[name] = table[f"raw_{name}"] = (seen.size[:, column] - side) / 2
    table["side"] = table["raw_side"] = side
    table[["frame_width", "frame_height"]] = seen.size.astype(int)
    table["angle"], table["scene"], table["status"], table["reason"] = 0.0, 0, "tracked", ""
    write_quality(table, seen, chosen)
    heights = {row: sighting.box[3] - sighting.box[1] for row, sighting in chosen.items()}
    table["face_height"] = [heights.get(row, np.nan) for row in range(len(table))]
    table["image"] = [f"{index:06d}.png" for index in table["index"]]
    table["matte"] = ""
    return table[(table["role"] != "unused").to_numpy()].reset_index(drop=True)[COLUMNS]


# ---- second pass: pictures ----------------------------------------------------------------------------------


def _cut(frame: Frame, square: Square, face_height: float, reduce: int, settings: CropSettings) -> np.ndarray:
    """The crop of one frame: uint8, size x size x 3.

    Args:
        frame: of the media.
        square: in the frame.
        face_height: px of the frame.
        reduce: the frame is converted at 1 / `reduce` of its size.
        settings: size and geometry.
    """
    if settings.geometry == "published":
        return crop_published(frame.pixels(), square, settings.size, face_height)
    image = frame.pixels(None if reduce == 1 else round(max(frame.width, frame.height) / reduce))
    square = square.scaled(image.shape[1] / frame.width, image.shape[0] / frame.height)
    return crop_square(image, square, settings.size, reduced=reduce > 1)


def _encoded(
    passes: Passes, table: pd.DataFrame, settings: CropSettings, threads: int
) -> Iterator[tuple[dict[str, Any], bytes, bytes | None]]:
    """Of each stored frame its row of the table, its crop and the matte that came with it (or None), both as PNG."""
    wanted = table[table["image"] != ""]
    places, squares, media = wanted.to_dict("records"), squares_of(wanted), passes.media
    # Where the squares are several times larger than the crops, frames are reduced while they are converted.
    reduce = max(1, int(wanted["side"].median() / settings.size)) if media.kind == "video" else 1

    def work(item: tuple[int, Frame]) -> tuple[dict[str, Any], bytes, bytes | None]:
        row, frame = item
        if media.kind != "cropped":
            crop = _cut(frame, squares[row], places[row]["face_height"], reduce, settings)
            return places[row], encode_png(crop), None
        matte = frame.matte()
        crop = encode_png(centre_crop(frame.pixels(), settings.size))
        return places[row], crop, None if matte is None else encode_png(centre_crop(matte, settings.size))

    return in_order(work, passes.listed(wanted), threads, together=4)


def _report(media: Path, table: pd.DataFrame, people: str) -> None:
    """Print what was found, for the log."""
    counts = table["status"].value_counts()
    print(f"{media}: {len(table)} frames: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    for reason, count in table.loc[table["reason"] != "", "reason"].value_counts().items():
        print(f"  {reason}: {count}")
    print(f"  {people}")
    restless = jitter(table)
    if not np.isnan(restless["centre_before"]):
        print(
            f"  jitter (of face heights): middle {restless['centre_before']:.4f} before smoothing, {restless['centre_after']:.4f} after; "
            f"size {restless['scale_before']:.4f} before, {restless['scale_after']:.4f} after"
        )
