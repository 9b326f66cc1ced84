"""What pages show of a clip: faces that are found in its media, its crops and mattes, and which frames were lost."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
import pandas as pd

from reenact.data.clip import Clip
from reenact.faces.detectors import open_detectors
from reenact.faces.face import Face
from reenact.media.frames import Frame, Media
from reenact.media.probe import probe, read_frames
from reenact.reporting.clips import ClipView, view_clip
from reenact.reporting.pictures import jpeg
from reenact.reporting.results import Results
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings
from reenact.studio.views import FoundFace, LookedAt, Lost

LOOKED = 6
"""Most frames or photos in which faces are shown."""
EVERY = 1.0
"""Time between the frames of a video that are looked at, s."""
GIVE_UP = 20.0
"""A video is looked at no further than this, s."""
SIDE = 640
SHEET = 24
_DETECTING = Lock()


def look(media: Path, settings: CropSettings) -> list[LookedAt]:
    """Look for faces in a few photos or frames, so that somebody can say who is meant.

    Raises:
        UserError: the media cannot be read.
    """
    return _look(media, _age(media), settings)


@lru_cache(maxsize=16)
def _look(media: Path, age: tuple[int, int], settings: CropSettings) -> list[LookedAt]:
    found = probe(media)
    looked: list[LookedAt] = []
    with _DETECTING, open_detectors(settings, "auto", threads=1) as detectors:
        for since, frame in _spread(found):
            image = frame.pixels(SIDE)
            faces = [face for face in detectors[0].find_all([image])[0]]
            smallest = settings.min_face * image.shape[0] / max(frame.height, 1)
            faces = [face for face in faces if face.box[3] - face.box[1] >= smallest]
            looked.append(_looked_at(found, frame, since, image, faces))
            seen = [one for one in looked if one.faces]
            if len(looked) >= LOOKED and (seen or since > GIVE_UP):
                break
    return ([one for one in looked if one.faces] or looked)[:LOOKED]


def _spread(media: Media) -> Iterator[tuple[float, Frame]]:
    """The photos; or frames of a video, EVERY seconds, with their time since the first one."""
    frames = read_frames(media)
    if media.kind != "video":
        yield from ((float(frame.index), frame) for frame in islice(frames, 4 * LOOKED))
        return
    first, due = None, 0.0
    for frame in frames:
        first = frame.time if first is None else first
        if (since := frame.time - first) >= due:
            due = since + EVERY
            yield since, frame
        if since > GIVE_UP:
            return


def _looked_at(media: Media, frame: Frame, since: float, image: np.ndarray, faces: list[Face]) -> LookedAt:
    height, width = image.shape[:2]
    label = f"{since:.1f} s" if media.kind == "video" else f"photo {frame.index + 1}"
    found = []
    for face in sorted(faces, key=lambda one: float(one.box[0])):
        left, top, right, bottom = np.clip(face.box / [width, height, width, height], 0, 1)
        point = f"{50 * (left + right):.1f}%,{50 * (top + bottom):.1f}% at {since:g}"
        crop = image[int(top * height) : int(bottom * height) + 1, int(left * width) : int(right * width) + 1]
        small = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_AREA)
        found.append(FoundFace(left, top, right - left, bottom - top, point, jpeg(small)))
    return LookedAt(label, width, height, jpeg(image), found)


# ---- what the stages made -----------------------------------------------------------------------------------


def footage(results: Path, name: str, frames: int = SHEET) -> ClipView:
    """Description, crops and mattes of a clip, as far as the stages are."""
    files = [results / "clips" / name / file for file in ("source.json", "crops.zip", "mattes.zip")]
    return _view(results, name, frames, tuple(_age(file) for file in files))


@lru_cache(maxsize=64)
def _view(results: Path, name: str, frames: int, ages: tuple[tuple[int, int], ...]) -> ClipView:
    files = [results / "clips" / name / file for file in ("source.json", "crops.zip", "mattes.zip")]
    return view_clip(Results(results, files), name, frames)


def lost(results: Path, name: str) -> list[Lost]:
    """The frames of a clip that were left out, in order."""
    crops = results / "clips" / name / "crops.zip"
    return _lost(crops, _age(crops)) if crops.exists() else []


@lru_cache(maxsize=64)
def _lost(crops: Path, age: tuple[int, int]) -> list[Lost]:
    table = Clip(crops).table
    if "reason" not in table:
        return []
    rows: Any = table[table["status"] == "dropped"].itertuples()
    return [Lost(_label(row), str(row.reason) or "not said") for row in rows]


def face_of(results: Path, name: str, media: Path) -> str | None:
    """A small picture of who is in a clip, a data: URI: a crop, or before stage crop the first picture of the media."""
    crops = results / "clips" / name / "crops.zip"
    return _face_of(crops, _age(crops)) if crops.exists() else _first_picture(media, _age(media))


@lru_cache(maxsize=64)
def _face_of(crops: Path, age: tuple[int, int]) -> str | None:
    clip = Clip(crops)
    names = [image for image in clip.table["image"].astype(str) if image]
    return _square(clip.image(names[len(names) // 2])) if names else None


@lru_cache(maxsize=64)
def _first_picture(media: Path, age: tuple[int, int]) -> str | None:
    try:
        return _square(next(read_frames(probe(media))).pixels(SIDE))
    except UserError:
        return None


def _square(image: np.ndarray) -> str:
    """The middle of a picture, small; of an upright one its upper part, where faces are."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 4, (image.shape[1] - side) // 2
    return jpeg(cv2.resize(image[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_AREA))


def _label(row: Any) -> str:
    return f"{row.time:.2f} s" if getattr(row, "duration", 1) and pd.notna(row.time) else f"photo {row.index + 1}"


def _age(path: Path) -> tuple[int, int]:
    """What changes when a file does: time (ns) and size."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
