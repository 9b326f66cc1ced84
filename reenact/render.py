"""Stage render: one avatar follows one driver, as videos that play anywhere."""

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from reenact.clip import Clip
from reenact.encode import add_audio, write_video
from reenact.errors import UserError
from reenact.files import written_whole
from reenact.images import resize_to
from reenact.model import Avatar, pick_device
from reenact.sequence import frames_of, images
from reenact.settings.render import RenderSettings


def render_pair(
    *, model: Path, driver_crops: Path, driver_media: Path, driver_source: Path, video: Path, side_by_side: Path, device: str,
    threads: int = 0, settings: RenderSettings,
) -> None:
    """Render every frame of the driver at its own time, with the driver's sound.

    Frames are read, driven and encoded in one pass; memory does not grow with the driver's length.

    Args:
        model: the avatar.
        driver_crops: crops of the driver, one for each of its frames.
        driver_media: the driver's file; read only where its sound is wanted.
        driver_source: source.json of stage decode.
        video: mp4 to write, the avatar, settings.height square.
        side_by_side: mp4 to write, driver's crop left, avatar right.
        device, threads: see `pick_device`.

    Raises:
        UserError: no frame to drive with, or the sound is wanted and the file is missing or unreadable.
    """
    clip = Clip(driver_crops)
    table = frames_of(clip, "drive")
    if table.empty:
        raise UserError(f"{driver_crops}: no frame to drive with; run stage crop of the driver again")
    has_audio = settings.audio == "driver" and json.loads(driver_source.read_text(encoding="utf-8"))["audio"]
    if has_audio and not driver_media.is_file():
        raise UserError(f"{driver_media}: does not exist; the driver's sound is read from it (or set render.audio to none)")
    avatar = Avatar.load(model, str(pick_device(device, threads)))
    with tempfile.TemporaryDirectory(prefix="reenact-render-") as folder:
        silent = Path(folder, "video.mp4"), Path(folder, "side_by_side.mp4")
        _render(avatar, clip, table, silent, settings)
        for source, target in zip(silent, (video, side_by_side)):
            if has_audio:
                _add_sound(source, driver_media, table, target)
            else:
                with written_whole(target) as temporary:
                    shutil.move(source, temporary)
    print(f"render: {len(table)} frames, {_duration(table):.2f} s, {'with' if has_audio else 'without'} sound", flush=True)


def _render(avatar: Avatar, clip: Clip, table: pd.DataFrame, targets: tuple[Path, Path], settings: RenderSettings) -> None:
    """Write both videos without sound."""
    side, quality = settings.height, {"crf": settings.crf, "preset": settings.preset}
    shown: deque[np.ndarray] = deque()  # crops that the avatar was given and has not answered yet: at most a batch
    outputs = avatar.drive(_kept(images(clip, table["image"].tolist()), shown), batch_size=settings.batch_size)
    with write_video(targets[0], side, side, **quality) as alone, write_video(targets[1], 2 * side, side, **quality) as beside:
        for row, (rgb, _) in zip(table.itertuples(), outputs, strict=True):
            ours, driver = resize_to(rgb, side), resize_to(shown.popleft(), side)
            alone.add(ours, row.time, row.duration)
            beside.add(np.concatenate([driver, ours], axis=1), row.time, row.duration)


def _kept(frames: Iterator[np.ndarray], shown: deque[np.ndarray]) -> Iterator[np.ndarray]:
    """The same frames, remembered in `shown` as they pass, so that they are not read twice."""
    for frame in frames:
        shown.append(frame)
        yield frame


def _add_sound(silent: Path, media: Path, table: pd.DataFrame, video: Path) -> None:
    """Time 0 of the pictures is the presentation time of the driver's first frame."""
    start = float(table["source_time"].iloc[0] - table["time"].iloc[0])
    add_audio(silent=silent, media=media, start=start, duration=_duration(table), video=video)


def _duration(table: pd.DataFrame) -> float:
    """End of the last frame, s."""
    return float(table["time"].iloc[-1] + table["duration"].iloc[-1])
