"""Stage drive: every model of a sweep follows held-out frames, so that one can be chosen by numbers."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

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
    with write_clip(driven) as writer:
        for iteration, path in progress(models.items(), len(models), "drive", unit="model", shown=False):
            avatar = Avatar.load(path, device, settings.precision)
            for protocol, table in frames.items():
                rows += _drive(
                    writer, avatar, clips[protocol], table, f"{protocol}/{iteration:06d}", settings.batch_size
                )
            count = sum(len(table) for table in frames.values())
            print(f"drive iteration {iteration}: {count} frames, {avatar.precision}", flush=True)
        writer.finish(pd.DataFrame(rows, columns=COLUMNS))


def _drive(
    writer: ClipWriter, avatar: Avatar, clip: Clip, table: pd.DataFrame, folder: str, batch_size: int
) -> Iterator[dict]:
    """Render and store the frames of `table`; yields their rows of the driven table."""
    protocol, iteration = folder.split("/")
    outputs = frame_by_frame(avatar.drive(images(clip, table["image"].tolist()), batch_size=batch_size))
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
