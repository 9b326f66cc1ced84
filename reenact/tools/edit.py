"""Move an avatar's controls: a still of the person, or a video in which the person also follows a driver."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import reenact
from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.images import resize_to, to_tensor
from reenact.data.png import encode_png
from reenact.data.sequence import frames_of, images, spread
from reenact.models.pose_edit import Control, PoseEdit
from reenact.provenance.stamp import stamp_of
from reenact.rendering.compose import to_bytes
from reenact.rendering.encode import check_encoder, write_video
from reenact.rendering.pose_filter import pose_edit
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write
from reenact.runtime.parallel import batches
from reenact.runtime.progress import progress
from reenact.settings.edit import EditSettings
from reenact.stages.mark import sign_recording

NEUTRAL_FRAMES = 64
"""Frames spread over a driver in which its neutral one is found."""


def offered(model: Path) -> dict[str, Control]:
    """The controls of a model file; see `reenact.avatar.Avatar.controls`."""
    return Avatar.load(model, "cpu").controls()


def edit_still(
    *, model: Path, values: Mapping[str, float], picture: Path, device: str, threads: int = 0, settings: EditSettings
) -> None:
    """A still of an avatar's own face, with controls moved; marked and signed as videos are.

    Args:
        model: an avatar of the warping family.
        values: name of a control -> how far, in its unit; see `offered`.
        picture: PNG to write.
        device, threads: see `pick_device`.

    Raises:
        UserError: a control that is not offered, a value beyond its range, or a model that cannot do it.
    """
    avatar = Avatar.load(model, str(pick_device(device, threads)))
    shown = avatar.render(None, edit={**settings.pose.controls, **values})[0][0]
    image = to_bytes(resize_to(shown.permute(1, 2, 0).cpu().numpy(), settings.height))
    stamp = stamp_of(settings.mark, secrets.randbits(32), reenact.__version__)
    if stamp:
        image = stamp.marker(image.shape[1], image.shape[0])(image, 0.0)
    with atomic_write(picture) as temporary:
        temporary.write_bytes(encode_png(image))
    if stamp:
        sign_recording(picture, [model], stamp, composite=False, settings=settings.mark)


def edit_video(
    *,
    model: Path,
    values: Mapping[str, float],
    driver_crops: Path,
    video: Path,
    device: str,
    threads: int = 0,
    settings: EditSettings,
) -> None:
    """A video of an avatar that follows a driver by `settings.pose`, with controls moved; silent.

    Args:
        model: an avatar of the warping family.
        values: name of a control -> how far, in its unit; see `offered`.
        driver_crops: crops of the driver.
        video: mp4 to write, at the driver's times.
        device, threads: see `pick_device`.

    Raises:
        UserError: nobody to drive with, a control that is not offered, or a model that cannot do it.
    """
    clip = Clip(driver_crops)
    table = frames_of(clip, "drive")
    if table.empty:
        raise UserError(f"{driver_crops}: no frame to drive with; run stage crop of the driver again")
    check_encoder(settings.encoder, settings.pix_fmt, settings.crf, settings.preset)
    avatar = Avatar.load(model, str(pick_device(device, threads)))
    names = table["image"].tolist()
    sample = avatar.pose_embedding(to_tensor(clip.images([names[row] for row in spread(len(names), NEUTRAL_FRAMES)])))
    edit = pose_edit(settings.pose, sample)
    edit = replace(edit, controls={**edit.controls, **values})
    avatar.check_edit(edit)
    pictures = _pictures(avatar, edit, images(clip, names), settings)
    _write(video, progress(pictures, len(table), f"edit {video}"), table, model, settings)


def _pictures(
    avatar: Avatar, edit: PoseEdit, crops: Iterator[np.ndarray], settings: EditSettings
) -> Iterator[np.ndarray]:
    """What is shown for each crop: uint8 RGB."""
    for batch in batches(crops, settings.batch_size):
        rgb, _ = avatar.render(avatar.pose_embedding(to_tensor(np.stack(batch))), edit=edit)
        for picture in rgb.permute(0, 2, 3, 1).cpu().numpy():
            yield to_bytes(resize_to(picture, settings.height))


def _write(
    video: Path, pictures: Iterator[np.ndarray], table: pd.DataFrame, model: Path, settings: EditSettings
) -> None:
    side, stamp = settings.height, stamp_of(settings.mark, secrets.randbits(32), reenact.__version__)
    with write_video(
        video, side, side, settings.crf, settings.preset, settings.encoder, settings.pix_fmt, stamp
    ) as writer:
        for row, picture in zip(table.itertuples(), pictures, strict=True):
            writer.add(picture, row.time, row.duration)
    if stamp:
        sign_recording(video, [model], stamp, composite=False, settings=settings.mark)
