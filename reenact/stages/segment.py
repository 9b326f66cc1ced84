"""Stage `segment`: mattes, that is, how much of each pixel of a crop belongs to the person in its middle.

Crops are read and segmented, and mattes finished and compressed, in several threads; a matte depends on its own crop
and on the mattes of the frames around it, never on how many threads there are.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from reenact.data.clip import Clip, write_clip
from reenact.data.png import encode_png
from reenact.faces.square import squares_of
from reenact.matting.mattes import face_region, inside_frame, keep_person, sharpen_matte
from reenact.matting.segmenters import Segmenter, open_segmenter
from reenact.matting.smoothing import MatteFrame, smooth_matte, with_neighbours
from reenact.runtime.parallel import batches, cpu_threads, opencv_in_one_thread, thread_map
from reenact.runtime.progress import progress
from reenact.settings.segment import SegmentSettings

COLUMNS = ["index", "time", "role", "image", "coverage", "face_coverage", "warning"]
# A matte that covers less than this fraction of the face has lost the person.
MIN_FACE_COVERAGE = 0.5
# Frames further apart than this, s, may differ; so may two scenes.
MAX_PAUSE = 0.5
# Side of the copies of crops that show where the picture changes, px.
_THUMBNAIL = 64


@dataclass(frozen=True)
class _Matte:
    """A finished matte: row of the table, PNG, its mean, and its mean inside the face (both 0 to 1)."""

    row: int
    data: bytes
    coverage: float
    face_coverage: float


@opencv_in_one_thread()
def segment_clip(
    *,
    crops: Path,
    mattes: Path,
    settings: SegmentSettings,
    device: str = "auto",
    threads: int = 1,
    segmenter: Segmenter | None = None,
) -> None:
    """Write one grey image (0 background to 255 person) for each crop, of the same name.

    Crops that came with a matte (column `matte` of their table) keep it as it is. The table has the columns COLUMNS:
    coverage is the mean of the matte, face_coverage that of the part on the face, 0 to 1; warning says where one of
    them cannot be right. Frames without a crop have none of these.

    Args:
        crops: clip of stage crop.
        mattes: clip to write.
        settings: see `SegmentSettings`.
        device: of transformers' models; see `pick_device`.
        threads: how many frames are worked on at a time; 0 = as many as there are cores.
        segmenter: that `open_segmenter` opened for as many threads, where many clips are segmented; None = opened here.

    Raises:
        UserError: the crops cannot be read, or the network cannot be had.
    """
    clip = Clip(crops)
    table = clip.table[["index", "time", "role", "image"]].copy()
    coverage = np.full((len(table), 2), np.nan)
    workers = cpu_threads(threads)
    names = table["image"].astype(str).tolist()
    rows = [row for row, name in enumerate(names) if name]
    opened = open_segmenter(settings, device=device, threads=workers) if segmenter is None else nullcontext(segmenter)
    with opened as network, write_clip(mattes) as writer:
        for matte in progress(
            _MatteMaker(clip, network, settings).make(rows, workers), len(rows), "mattes", shown=False
        ):
            writer.add_encoded(names[matte.row], matte.data)
            coverage[matte.row] = matte.coverage, matte.face_coverage
        table[["coverage", "face_coverage"]] = coverage.round(4)
        table["warning"] = find_warnings(table, _scenes(clip.table), _is_video(clip.table), settings.max_jump)
        writer.finish(table[COLUMNS])
    _report(crops, table)


def find_warnings(table: pd.DataFrame, scenes: np.ndarray, video: bool, max_jump: float) -> list[str]:
    """What is wrong with each matte, in words; '' where nothing seems to be.

    Args:
        table: columns time, image, coverage and face_coverage.
        scenes: number of each row's scene.
        video: whether neighbouring rows should look alike.
        max_jump: largest change of the coverage from one frame to the next that is believed.
    """
    warnings = []
    last: tuple[int, Any] | None = None
    for scene, frame in zip(scenes, table.itertuples(index=False), strict=True):
        text = ""
        if frame.image:
            before = frame.coverage
            if video and last and last[0] == scene and frame.time - last[1].time <= MAX_PAUSE:
                before = last[1].coverage
            if frame.face_coverage < MIN_FACE_COVERAGE:
                text = f"only {frame.face_coverage:.0%} of the face is covered"
            elif abs(frame.coverage - before) > max_jump:
                text = f"coverage jumps from {before:.0%} to {frame.coverage:.0%}"
            last = scene, frame
        warnings.append(text)
    return warnings


class _MatteMaker:
    """Makes the mattes of one clip's crops; several threads may call its methods at once."""

    def __init__(self, clip: Clip, segmenter: Segmenter, settings: SegmentSettings) -> None:
        self._clip, self._segmenter, self._contrast = clip, segmenter, settings.sharpen
        table = clip.table
        self._sigma = settings.smoothing if _is_video(table) else 0.0
        self._landmarks = clip.landmarks()
        # Plain lists: looking into a table frame by frame takes longer than a network.
        self._names, self._times, self._scenes = (
            table["image"].tolist(),
            table["time"].tolist(),
            _scenes(table).tolist(),
        )
        self._supplied = table["matte"].astype(str).tolist() if "matte" in table else [""] * len(table)
        self._squares = squares_of(table)
        self._frame_sizes = table[["frame_width", "frame_height"]].to_numpy().tolist()

    def make(self, rows: list[int], threads: int) -> Iterator[_Matte]:
        """The finished mattes of some rows, in their order."""
        frames = chain.from_iterable(thread_map(self._segment, batches(rows, self._segmenter.batch_size), threads))
        # Half as many: finishing takes half as long, and its many small steps wait for each other's interpreter lock.
        finishing = max(1, threads // 2)
        yield from thread_map(self._finish, with_neighbours(frames, self._sigma), finishing, chunk_size=8)

    def _segment(self, rows: list[int]) -> list[MatteFrame]:
        """The mattes of some rows as the network makes them, or as they came with the media."""
        images = self._clip.images([self._names[row] for row in rows])
        size = images.shape[1]
        supplied = [self._supplied_matte(row, size) for row in rows]
        if any(matte is None for matte in supplied):
            made = self._segmenter.mattes(images, [face_region(size, self._landmarks[row]) for row in rows])
        mattes = [made[i] if matte is None else matte for i, matte in enumerate(supplied)]
        thumbnails = [cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA) for image in images]
        return [
            MatteFrame(row, self._times[row], self._scenes[row], matte, thumbnail, bool(self._supplied[row]))
            for row, matte, thumbnail in zip(rows, mattes, thumbnails, strict=True)
        ]

    def _finish(self, item: tuple[MatteFrame, list[MatteFrame]]) -> _Matte:
        """The matte of a frame and its neighbours, ready to be written."""
        frame, neighbours = item
        row, matte, size = frame.row, frame.matte, len(frame.matte)
        face = face_region(size, self._landmarks[row])
        if not frame.supplied:
            matte = sharpen_matte(smooth_matte(frame, neighbours, self._sigma), self._contrast)
            matte = keep_person(matte, face)
            width, height = self._frame_sizes[row]
            inside = inside_frame(self._squares[row], width, height, size)
            matte = matte if inside is None else matte * inside
        pixels = cv2.convertScaleAbs(matte, alpha=255)
        return _Matte(row, encode_png(pixels), cv2.mean(pixels)[0] / 255, cv2.mean(pixels, face)[0] / 255)

    def _supplied_matte(self, row: int, size: int) -> np.ndarray | None:
        """The matte that came with a crop, float32, size x size; None if there was none."""
        if not self._supplied[row]:
            return None
        matte = self._clip.image(self._supplied[row]).astype(np.float32) / 255
        return matte if len(matte) == size else cv2.resize(matte, (size, size), interpolation=cv2.INTER_AREA)


def _is_video(table: pd.DataFrame) -> bool:
    return bool((table["duration"] > 0).any())


def _scenes(table: pd.DataFrame) -> np.ndarray:
    """Number of each row's scene; all the same where stage crop does not tell them."""
    return table["scene"].to_numpy(int) if "scene" in table else np.zeros(len(table), int)


def _report(crops: Path, table: pd.DataFrame) -> None:
    """One line about the clip for the log, and one for every warning."""
    known = table["coverage"].dropna()
    if not len(known):
        print(f"segment: {crops}: no crops, no mattes", flush=True)
        return
    doubtful = (table["warning"] != "").sum()
    covering = f"covering {known.min():.0%} to {known.max():.0%} of them"
    print(f"segment: mattes of {len(known)} crops, {covering}; {doubtful} doubtful", flush=True)
    for row in table[table["warning"] != ""].itertuples(index=False):
        print(f"warning: frame {row.index} at {row.time:.3f} s: {row.warning}", flush=True)
