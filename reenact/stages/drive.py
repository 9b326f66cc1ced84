"""Stage drive: every model of a sweep follows held-out frames, so that one can be chosen by numbers."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from torch import Tensor

from reenact.avatar import Avatar
from reenact.data.clip import Clip, ClipWriter, write_clip
from reenact.data.images import frame_by_frame
from reenact.data.sequence import images, shown_frames
from reenact.evaluation.sweep import sweep_models
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.progress import progress
from reenact.settings.drive import DriveSettings

COLUMNS = ["image", "matte", "protocol", "iteration", "index", "time", "run"]


def drive_sweep(
    *,
    sweep: Path,
    identity_crops: Path,
    driver_crops: Path,
    driven: Path,
    device: str,
    threads: int = 0,
    settings: DriveSettings,
) -> None:
    """Drive every model of `sweep` and keep its outputs in one clip file.

    Two protocols: `self`, the identity's own held-out frames (none for photos), and `cross`, another person's. All
    models are shown the same frames: all of them, or short runs spread over the stretch (`reenact.data.sequence.runs`).

    Args:
        sweep: folder of models named by iteration, 000000.safetensors being the one without fine-tuning.
        identity_crops: crops of the identity.
        driver_crops: crops of the driver of the cross protocol.
        driven: clip file to write. Images at the model's size, `<protocol>/<iteration>/<index>.png` (black
            background) and `....matte.png`; columns image, matte, protocol, iteration, index (the driver's frame),
            time (s) and run (number of the run of consecutive frames).
        device, threads: see `pick_device`.

    Raises:
        UserError: the sweep has no model, or there is no frame to drive with.
    """
    models = sweep_models(sweep)
    clips = {"self": Clip(identity_crops), "cross": Clip(driver_crops)}
    frames = {
        protocol: shown_frames(clips[protocol], role, settings.frames)
        for protocol, role in (("self", "holdout"), ("cross", "drive"))
    }
    if frames["cross"].empty:
        raise UserError(f"{driver_crops}: no frame with a face to drive with; give drive.driver another driver")
    device, rows = str(pick_device(device, threads)), list[dict[str, object]]()
    seen_by = None
    with write_clip(driven) as writer:
        for iteration, path in progress(models.items(), len(models), "drive", unit="model", shown=False):
            avatar = Avatar.load(path, device, settings.precision)
            if seen_by is None or not avatar.sees_like(seen_by):  # models of a sweep share the pose encoder, as a rule
                seen_by, poses = avatar, _look(avatar, clips, frames, settings.batch_size)
            for protocol, table in frames.items():
                rows += _drive(writer, avatar, poses[protocol], table, f"{protocol}/{iteration:06d}")
            count = sum(len(table) for table in frames.values())
            print(f"drive iteration {iteration}: {count} frames, {avatar.precision}", flush=True)
        writer.finish(pd.DataFrame(rows, columns=COLUMNS))


def _look(
    avatar: Avatar, clips: dict[str, Clip], frames: dict[str, pd.DataFrame], batch_size: int
) -> dict[str, list[Tensor]]:
    """Pose descriptors of the frames of each protocol, batch by batch."""
    shown = {protocol: images(clips[protocol], table["image"].tolist()) for protocol, table in frames.items()}
    return {protocol: list(avatar.pose_embeddings(crops, batch_size)) for protocol, crops in shown.items()}


def _drive(writer: ClipWriter, avatar: Avatar, poses: list[Tensor], table: pd.DataFrame, folder: str) -> Iterator[dict]:
    """Render and store the frames of `table`, whose descriptors are `poses`; yields their rows of the driven table."""
    protocol, iteration = folder.split("/")
    outputs = frame_by_frame(map(avatar.render, poses))
    for frame, (rgb, matte) in zip(table.itertuples(), outputs, strict=True):
        name = f"{folder}/{frame.index:06d}"
        writer.add(f"{name}.png", rgb)
        writer.add(f"{name}.matte.png", matte)
        yield dict(
            image=f"{name}.png",
            matte=f"{name}.matte.png",
            protocol=protocol,
            iteration=int(iteration),
            index=frame.index,
            time=frame.time,
            run=frame.run,
        )
