"""Morphing: from one pose to another, or from one person to another while a driver goes on.

Both are straight lines in the model's own spaces: pose descriptors and identity embeddings are vectors. Two avatars of
one meta-model differ in their generators' weights too; those are mixed likewise, which works because fine-tuning leaves
them close together (weights of one start mix well: Wortsman et al., *Model soups*, ICML 2022).
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import reenact
from reenact.avatar import Avatar, person_identity
from reenact.data.clip import Clip
from reenact.data.images import resize_to, to_tensor
from reenact.data.sequence import frames_of
from reenact.models.model_file import constant, load_model
from reenact.models.reenactor import Reenactor
from reenact.models.spectral_norm import fold_spectral_norms
from reenact.provenance.stamp import stamp_of
from reenact.rendering.compose import to_bytes
from reenact.rendering.encode import check_encoder, write_video
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.progress import progress
from reenact.settings.morph import MorphSettings
from reenact.stages.mark import sign_recording

FPS = 25
"""Of a morph between two poses, frames/s."""


class Mixture:
    """An avatar somewhere between two of one meta-model; `at` says where.

    Args:
        first, second: model files of two avatars.
        device: where it runs.

    Raises:
        UserError: they are no avatars, or not of one meta-model.
    """

    def __init__(self, first: Path, second: Path, device: torch.device) -> None:
        nets = [_plain(path, device) for path in (first, second)]
        poses = [net.pose_encoder.state_dict() for net in nets]
        if poses[0].keys() != poses[1].keys() or not all(torch.equal(poses[0][key], poses[1][key]) for key in poses[0]):
            raise UserError(
                f"{second}: does not come from the same meta-model as {first}; only such avatars can be morphed"
            )
        self._ends = [[value.clone() for value in _own(net)] for net in nets]
        self._net = nets[0]
        self.avatar = Avatar(self._net, {}, device)

    @torch.no_grad()
    def at(self, fraction: float) -> Avatar:
        """The avatar at `fraction` (0 to 1) of the way from the first to the second."""
        for value, first, second in zip(_own(self._net), *self._ends, strict=True):
            value.copy_(torch.lerp(first, second, fraction))
        return self.avatar


def _plain(path: Path, device: torch.device) -> Reenactor:
    net = constant(load_model(path).reenactor, path, "a morph between two people")
    if net.identity_embedding is None:
        raise UserError(f"{path}: is a meta-model; give two avatars, or a meta-model with the crops of two people")
    net = net.to(device).eval().requires_grad_(False)
    fold_spectral_norms(net)
    return net


def _own(net: Reenactor) -> list[Tensor]:
    """What fine-tuning makes a person's own: the generator's weights and the identity embedding."""
    embedding = net.identity_embedding
    return [*net.generator.state_dict().values(), *([] if embedding is None else [embedding.data])]


@dataclass(frozen=True)
class Person:
    """One end of a morph: an avatar (`crops` is None), or whom a meta-model shows.

    Attributes:
        model: model file.
        crops: crops of the person, for a meta-model.
    """

    model: Path
    crops: Path | None = None


def morph_people(
    *,
    start: Person,
    end: Person,
    driver_crops: Path,
    video: Path,
    device: str,
    threads: int = 0,
    settings: MorphSettings,
) -> None:
    """One person becomes another while both do what the driver does; from the driver's first frame to its last.

    Args:
        start, end: two avatars of one meta-model, or one meta-model with the crops of two people.
        driver_crops: crops of the driver.
        video: mp4 to write, at the driver's times.
        device, threads: see `pick_device`.

    Raises:
        UserError: models that do not fit, or nobody to drive with.
    """
    clip = Clip(driver_crops)
    table = frames_of(clip, "drive")
    if table.empty:
        raise UserError(f"{driver_crops}: no frame to drive with; run stage crop of the driver again")
    between = _between(start, end, pick_device(device, threads))
    pictures = (
        _picture(*between(fraction), clip.image(name))
        for fraction, name in zip(eased(len(table)), table["image"], strict=True)
    )
    _write(video, pictures, table, [start.model, end.model], settings)


def _between(start: Person, end: Person, device: torch.device) -> Callable[[float], tuple[Avatar, Tensor | None]]:
    """A function of the fraction of the way (0 to 1) that gives the avatar, and the identity that it is to show."""
    if start.model != end.model:
        mixture = Mixture(start.model, end.model, device)
        return lambda fraction: (mixture.at(fraction), None)
    avatar = Avatar.load(start.model, str(device))
    if avatar.personal or not (start.crops and end.crops):
        raise UserError(
            f"{start.model}: give a second avatar (--to-model), or a meta-model with --identity-crops and "
            "--to-identity-crops"
        )
    first, last = (person_identity(avatar, person.model, person.crops) for person in (start, end))
    return lambda fraction: (avatar, torch.lerp(first, last, fraction))


def morph_poses(
    *,
    model: Path,
    driver_crops: Path,
    frames: tuple[int, int],
    seconds: float,
    video: Path,
    device: str,
    threads: int = 0,
    settings: MorphSettings,
) -> None:
    """An avatar goes from the pose of one frame to that of another and back.

    Args:
        model: the avatar.
        driver_crops: where the frames are from.
        frames: numbers of the first and the second (column index).
        seconds: of the whole way.
        video: mp4 to write.
        device, threads: see `pick_device`.

    Raises:
        UserError: no such frames, or a meta-model.
    """
    clip = Clip(driver_crops)
    shown = clip.table[clip.table["image"].astype(str) != ""].set_index("index")["image"]
    for number in frames:
        if number not in shown.index:
            raise UserError(f"{driver_crops}: has no frame {number}; it has {shown.index.min()} to {shown.index.max()}")
    avatar = Avatar.load(model, str(pick_device(device, threads)))
    poses = avatar.pose_embedding(to_tensor(clip.images([shown[number] for number in frames]))).split(1)
    count = max(2, round(seconds * FPS / 2))
    fractions = [*eased(count), *eased(count)[::-1]]
    table = pd.DataFrame({"time": [i / FPS for i in range(len(fractions))], "duration": 1 / FPS})
    shown = (_rendered(avatar, torch.lerp(*poses, fraction)) for fraction in fractions)
    _write(video, shown, table, [model], settings)


def eased(count: int) -> list[float]:
    """From 0 to 1 in `count` steps, slow at both ends."""
    steps = np.linspace(0, 1, count) if count > 1 else np.zeros(1)
    return (steps * steps * (3 - 2 * steps)).tolist()


def _picture(avatar: Avatar, identity: Tensor | None, crop: np.ndarray) -> np.ndarray:
    """What an avatar shows for one crop of a driver: float S x S x 3 in [0, 1]."""
    return _rendered(avatar, avatar.pose_embedding(to_tensor(crop[None])), identity)


def _rendered(avatar: Avatar, pose: Tensor, identity: Tensor | None = None) -> np.ndarray:
    return avatar.render(pose, identity)[0][0].permute(1, 2, 0).cpu().numpy()


def _write(
    video: Path, pictures: Iterator[np.ndarray], table: pd.DataFrame, models: list[Path], settings: MorphSettings
) -> None:
    check_encoder(settings.encoder, settings.pix_fmt, settings.crf, settings.preset)
    side = settings.height
    stamp = stamp_of(settings.mark, secrets.randbits(32), reenact.__version__)
    with write_video(
        video, side, side, settings.crf, settings.preset, settings.encoder, settings.pix_fmt, stamp
    ) as writer:
        for row, picture in zip(table.itertuples(), progress(pictures, len(table), f"morph {video}"), strict=True):
            writer.add(to_bytes(resize_to(picture, side)), row.time, row.duration)
    if stamp:
        sign_recording(video, models, stamp, composite=False, settings=settings.mark)
