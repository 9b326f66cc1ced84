"""The crops of one person in a clip: the face is followed through all frames, then the squares around it are cut out.

The media are read twice (short ones stay decoded in between): once to find faces, of which no pictures are kept, and
once more, when the whole way of the face is known, to cut. Both passes decode in one thread and work in others, on a
few frames at a time; the results are those of a plain loop.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd

from reenact.faces.crop_pixels import centre_crop, crop_published, crop_square
from reenact.faces.crop_table import describe_rows, landmarks_in_crops, table_of_crops
from reenact.faces.detection import detect_faces
from reenact.faces.detectors import Detector
from reenact.faces.person import choose_in_photos, choose_person
from reenact.faces.place_squares import hint, place_squares
from reenact.faces.square import Square, squares_of
from reenact.media.frames import Frame
from reenact.media.probe import Passes
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import thread_map
from reenact.settings.crop import CropSettings

Encoded = TypeVar("Encoded")


@dataclass(frozen=True)
class FollowedFace:
    """One person's face in a clip.

    Attributes:
        table: of the crops, with the columns `crop_table.COLUMNS`.
        landmarks: of each row, fractions of its square, N x 68 x 2; NaN where the face was not seen.
        people: who was seen, and who is followed, in words.
        scene_starts: when each scene after the first begins, s from the first frame of the table.
    """

    table: pd.DataFrame
    landmarks: np.ndarray
    people: str
    scene_starts: list[float]


def follow_face(
    passes: Passes, table: pd.DataFrame, detectors: list[Detector], settings: CropSettings, threads: int = 1
) -> FollowedFace:
    """Find the faces, choose the person by the settings, and follow it; published crops are taken as they are.

    Args:
        passes: over the media; this is the first.
        table: frame table of the media.
        detectors: from `open_detectors`.
        settings: see `CropSettings`.
        threads: how many threads look for faces.

    Raises:
        UserError: nobody is found, the person asked for is not there, or a face is away for longer than allowed.
    """
    media = passes.media
    seen = detect_faces(passes, table, detectors, 1 if media.kind == "cropped" else settings.min_face, threads)
    if media.kind == "cropped":
        chosen, people = choose_in_photos(seen, "largest")
        placed = table_of_crops(table, seen, chosen, media.masks)
    else:
        if media.kind == "video":
            chosen, people = choose_person(seen, table["source_time"].to_numpy(float), settings.face)
        else:
            chosen, people = choose_in_photos(seen, settings.face)
        if not chosen:
            highest = seen.too_small.max()
            why = f"no face found that is high enough (the highest: {highest:.0f} px)" if highest else "no face found"
            raise UserError(f"{media.path}: {describe_rows(table, range(len(table)))}: {why}. {hint(settings)}")
        placed = place_squares(media.path, table, seen, chosen, settings, media.kind == "video")
    index = table["index"].tolist()
    landmarks = {index[row]: detection.landmarks for row, detection in chosen.items()}
    scene_starts = [float(table["time"].iloc[row]) for row in seen.cuts]
    return FollowedFace(placed, landmarks_in_crops(placed, landmarks), people, scene_starts)


def cut_crops(
    passes: Passes, table: pd.DataFrame, settings: CropSettings, threads: int, encode: Callable[[np.ndarray], Encoded]
) -> Iterator[tuple[int, Encoded, Encoded | None]]:
    """The crops of the rows that have an image, in order of time.

    Args:
        passes: over the media.
        table: of `follow_face`.
        settings: size and geometry.
        threads: how many frames are worked on at a time.
        encode: what becomes of a crop (uint8 RGB, size x size x 3) and of a matte (uint8, size x size), in these
            threads.

    Returns:
        Yields the number of the row, its crop, and the matte that came with it, or None.
    """
    wanted = table[table["image"] != ""]
    rows, squares, heights = wanted.index.tolist(), squares_of(wanted), wanted["face_height"].tolist()
    media, size = passes.media, settings.size
    # Where the squares are several times larger than the crops, frames are reduced while they are converted.
    reduce = max(1, int(wanted["side"].median() / size)) if media.kind == "video" else 1

    def cut(item: tuple[int, Frame]) -> tuple[int, Encoded, Encoded | None]:
        """One frame's crop; in several threads."""
        number, frame = item
        if media.kind == "cropped":
            matte = frame.matte()
            crop = encode(centre_crop(frame.pixels(), size))
            return rows[number], crop, None if matte is None else encode(centre_crop(matte, size))
        return rows[number], encode(cut_crop(frame, squares[number], heights[number], settings, reduce)), None

    return thread_map(cut, passes.listed(wanted), threads, chunk_size=4)


def cut_crop(frame: Frame, square: Square, face_height: float, settings: CropSettings, reduce: int = 1) -> np.ndarray:
    """The crop of one frame: uint8 RGB, size x size x 3.

    Args:
        frame: of the media.
        square: in the frame.
        face_height: px of the frame.
        settings: size and geometry.
        reduce: the frame is converted at 1 / `reduce` of its size.
    """
    if settings.geometry == "published":
        return crop_published(frame.pixels(), square, settings.size, face_height)
    image = frame.pixels(None if reduce == 1 else round(max(frame.width, frame.height) / reduce))
    square = square.scaled(image.shape[1] / frame.width, image.shape[0] / frame.height)
    return crop_square(image, square, settings.size, reduced=reduce > 1)
