"""Stage render: one avatar follows one driver, as the kinds of output that the settings name.

Data walk one way, each step in a thread of its own and a few frames ahead of the next:

    crops -> pose descriptors -> smoothed -> pictures -> each output composed and encoded -> sound
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import reenact
from reenact.avatar import Avatar, person_identity
from reenact.data.clip import Clip
from reenact.data.images import to_tensor
from reenact.data.sequence import frames_of, images, spread
from reenact.media.probe import probe
from reenact.models.family import Identity
from reenact.models.pose_edit import PoseEdit
from reenact.provenance.model_statement import weights_sha256
from reenact.provenance.stamp import stamp_of
from reenact.rendering.compose import backgrounds, typical_photo
from reenact.rendering.encode import check_encoder
from reenact.rendering.outputs import WRITERS, RenderedFrame, Scene
from reenact.rendering.pipeline import fan_out, prefetch
from reenact.rendering.pose_filter import DriverBatch, filter_poses, needs_sample, pose_edit
from reenact.rendering.sound import add_audio, check_sound
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.files import temporary_folder, write_text
from reenact.runtime.parallel import batches
from reenact.runtime.progress import progress
from reenact.settings.mark import MarkSettings
from reenact.settings.render import RenderSettings

MEAN_FRAMES = 64
"""Frames spread over a driver that its mean pose and standard deviation are taken of."""


@dataclass(frozen=True)
class DriverFiles:
    """The files of one driver.

    Attributes:
        crops: one for each of its frames (stage crop).
        media: its video; read for its sound, and for the output `pasted`.
        source: source.json of stage decode.
    """

    crops: Path
    media: Path
    source: Path


@dataclass(frozen=True)
class Sound:
    """Where the sound comes from: the file, and its time that belongs to the first picture, s."""

    media: Path
    start: float


def render_pair(
    *,
    model: Path,
    driver: DriverFiles,
    stem: Path,
    device: str,
    threads: int = 0,
    settings: RenderSettings,
    identity_crops: Path | None = None,
    mark: MarkSettings | None = None,
) -> None:
    """Render every frame of the driver at its own time. Memory does not grow with the driver's length.

    Args:
        model: an avatar; or a meta-model, which becomes the person of `identity_crops` without fine-tuning.
        driver: files of the driver.
        stem: of the outputs: <stem>.mp4 and others, see `RenderSettings.targets`; and <stem>.json, which says what was
            made of what, for stage mark.
        device, threads: see `pick_device`.
        mark: what is put into frames and containers; None = the defaults. Stage mark signs the files.
        identity_crops: crops of the person; its typical picture stands in the output `side_by_side`.

    Raises:
        UserError: no frame to drive with; a file that is needed is missing or unreadable; a meta-model without
            `identity_crops`; an encoder that does not run here; a model that cannot do what `render.pose` asks.
    """
    clip = Clip(driver.crops)
    table = frames_of(clip, "drive")
    if table.empty:
        raise UserError(f"{driver.crops}: no frame to drive with; run stage crop of the driver again")
    check_encoder(settings.encoder, settings.pix_fmt, settings.crf, settings.preset)
    sound = _sound(settings.audio, table, driver)
    mark = mark or MarkSettings()
    record = _record(model, driver, identity_crops, settings, mark)
    scene = _scene(settings, table, driver, identity_crops)
    scene = replace(scene, stamp=stamp_of(mark, int(record["rendering"], 16), reenact.__version__))
    avatar = Avatar.load(model, str(pick_device(device, threads)), settings.precision)
    identity = person_identity(avatar, model, identity_crops)
    avatar.check_edit(pose_edit(settings.pose, torch.zeros(1, avatar.pose_dim)))
    targets = {output: Path(path) for output, path in settings.targets(str(stem)).items()}
    with _silent_copies(targets, sound) as silent:
        write = [partial(WRITERS[output], target=silent[output], scene=scene) for output in targets]
        _render(avatar, identity, clip, table, write, settings, str(stem))
        for output, target in targets.items():
            if sound and silent[output] != target:
                add_audio(
                    silent=silent[output], media=sound.media, start=sound.start, duration=_duration(table), video=target
                )
    record |= {"frames": len(table), "duration": round(_duration(table), 6)}
    write_text(stem.with_name(stem.name + ".json"), json.dumps(record, indent=2) + "\n")
    seconds, heard = _duration(table), "with" if sound else "without"
    print(f"render: {len(table)} frames, {seconds:.2f} s, {heard} sound, {avatar.precision}", flush=True)


def _scene(settings: RenderSettings, table: pd.DataFrame, driver: DriverFiles, identity_crops: Path | None) -> Scene:
    """What the chosen outputs need, checked before anything is rendered."""
    photo = typical_photo(Clip(identity_crops)) if identity_crops and "side_by_side" in settings.outputs else None
    media = None
    if "on_background" in settings.outputs:
        next(backgrounds(settings.background, 64, [0.0]))
    if "pasted" in settings.outputs:
        media = probe(driver.media)
        lacking = {"x", "y", "side", "frame_width", "frame_height"} - set(table)
        if media.kind != "video" or lacking:
            why = f"its table lacks {', '.join(sorted(lacking))}" if lacking else "it is no video"
            raise UserError(
                f"{driver.crops}: the avatar cannot be pasted into {driver.media} ({why}); take pasted out of "
                "render.outputs"
            )
    return Scene(settings, table, media, photo)


def _record(
    model: Path, driver: DriverFiles, identity_crops: Path | None, settings: RenderSettings, mark: MarkSettings
) -> dict[str, Any]:
    """What was rendered of what, by hashes; `rendering` is a short number that follows from all of them."""
    chosen = settings.model_dump_json()
    record: dict[str, Any] = {
        "version": reenact.__version__,
        "model": weights_sha256(model),
        "settings": hashlib.sha256(chosen.encode()).hexdigest(),
    }
    for role, crops in (("identity_crops", identity_crops), ("driver_crops", driver.crops)):
        if crops:
            with crops.open("rb") as file:
                record[role] = hashlib.file_digest(file, "sha256").hexdigest()
    number = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:8]
    watermark = "none" if not mark.enabled else "private key" if mark.watermark_key else "public key"
    return {"rendering": number, **record, "outputs": list(settings.outputs), "watermark": watermark}


def _sound(audio: str, table: pd.DataFrame, driver: DriverFiles) -> Sound | None:
    """The setting `render.audio` as a file and a time in it."""
    if audio == "none" or (audio == "driver" and not json.loads(driver.source.read_text(encoding="utf-8"))["audio"]):
        return None
    if audio != "driver":
        check_sound(Path(audio))
        return Sound(Path(audio), 0.0)
    check_sound(driver.media)
    # Time 0 of the pictures is the presentation time of the driver's first frame.
    return Sound(driver.media, float(table["source_time"].iloc[0] - table["time"].iloc[0]))


@contextmanager
def _silent_copies(targets: dict[str, Path], sound: Sound | None) -> Iterator[dict[str, Path]]:
    """Where each output is written before it gets its sound: beside its target, or there if it gets none."""
    if not sound:
        yield targets
        return
    folder = next(iter(targets.values())).parent
    with temporary_folder(folder) as temporary:
        yield {output: path if output == "frames" else temporary / path.name for output, path in targets.items()}


def _duration(table: pd.DataFrame) -> float:
    """End of the last frame, s."""
    return float(table["time"].iloc[-1] + table["duration"].iloc[-1])


# ---- the way of the frames ----------------------------------------------------------------------------------


def _render(
    avatar: Avatar,
    identity: Identity | None,
    clip: Clip,
    table: pd.DataFrame,
    write: Sequence[Callable[[Iterator[RenderedFrame]], None]],
    settings: RenderSettings,
    title: str,
) -> None:
    """Show all frames of `table` to the functions in `write`."""
    names, size = table["image"].tolist(), settings.batch_size
    sample = None
    if needs_sample(settings.pose):  # of a short driver it is half of the descriptors
        sample = avatar.pose_embedding(to_tensor(clip.images([names[i] for i in spread(len(names), MEAN_FRAMES)])))
    crops = prefetch(images(clip, names), 2 * size)
    posed = prefetch(_posed(avatar, table, crops, size), 2)
    filtered, edit = filter_poses(posed, settings.pose, sample), pose_edit(settings.pose, sample)
    pictures = prefetch(_pictures(avatar, identity, edit, table, filtered), 2 * size)
    with fan_out(write, 2 * size) as show:
        for frame in progress(pictures, len(table), f"render {title}"):
            show(frame)


def _posed(avatar: Avatar, table: pd.DataFrame, crops: Iterator[np.ndarray], size: int) -> Iterator[DriverBatch]:
    """Crops in batches of `size`, with their pose descriptors."""
    times, first = table["time"].tolist(), 0
    for batch in batches(crops, size):
        rows = range(first, first + len(batch))
        yield DriverBatch(
            list(rows), [times[row] for row in rows], batch, avatar.pose_embedding(to_tensor(np.stack(batch)))
        )
        first += len(batch)


def _pictures(
    avatar: Avatar, identity: Identity | None, edit: PoseEdit, table: pd.DataFrame, batches: Iterator[DriverBatch]
) -> Iterator[RenderedFrame]:
    """What the avatar looks like in these poses, one by one."""
    rows = table.itertuples()
    for batch in batches:
        rgb, matte = avatar.render(batch.pose, identity, edit)
        pictures, mattes = rgb.permute(0, 2, 3, 1).cpu().numpy(), matte[:, 0].cpu().numpy()
        for crop, row, picture, alpha in zip(batch.crops, islice(rows, len(pictures)), pictures, mattes, strict=True):
            yield RenderedFrame(row, crop, picture, alpha)
