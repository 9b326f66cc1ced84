"""Training samples: frames of clips at the model's size, in memory, drawn by step number."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reenact.clip import Clip
from reenact.errors import UserError
from reenact.images import resize_area, to_tensor


@dataclass(frozen=True)
class Batch:
    """Samples of one step; images float in [0, 1].

    Attributes:
        identity_frames: B x K x 3 x H x W, other frames of the same clip; K = 0 in fine-tuning.
        driver: B x 3 x H x W, the frame whose pose is wanted.
        target: B x 3 x H x W, the same frame times its matte.
        matte: B x 1 x H x W.
        label: B, number of the clip.
    """

    identity_frames: Tensor
    driver: Tensor
    target: Tensor
    matte: Tensor
    label: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same samples on another device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class Person:
    """Training frames of one clip.

    Attributes:
        name: of the clip.
        frames: uint8 N x S x S x 3.
        mattes: uint8 N x S x S.
        landmarks: float32 N x 68 x 2, shares of the side; NaN where unknown.
    """

    name: str
    frames: np.ndarray
    mattes: np.ndarray
    landmarks: np.ndarray


def load_person(crops: Path, mattes: Path, size: int) -> Person:
    """Read the frames of one clip that training may see (never the held-out ones).

    Args:
        crops, mattes: clip files of stages crop and segment.
        size: side of the images wanted, px.

    Raises:
        UserError: no usable frame, or sizes that do not divide.
    """
    clip, matte_clip = Clip(crops), Clip(mattes)
    rows = clip.table.query("image != '' and role != 'holdout'").index
    if not len(rows):
        raise UserError(f"{crops}: no frame to train on")
    names = clip.table.image[rows].tolist()
    frames, masks = (resize_area(source.images(names), size) for source in (clip, matte_clip))
    return Person(crops.parent.name, frames, masks, clip.landmarks()[rows])


def sample(people: list[Person], *, seed: int, step: int, batch_size: int, identity_frames: int) -> Batch:
    """Draw the batch of one step; the same for the same arguments, so that a resumed run sees what it would have seen.

    The clip is drawn first, then its target frame, then identity frames other than the target (with
    repeats only where the clip has too few).

    Args:
        people: the clips.
        seed, step: what the draw depends on.
        batch_size: samples.
        identity_frames: K; 0 = none.
    """
    random = np.random.default_rng((seed, step))
    labels = _spread(random, len(people), batch_size)
    frames, targets, mattes = [], [], []
    for label in np.unique(labels):
        person, count = people[label], int((labels == label).sum())
        for target in _spread(random, len(person.frames), count):
            others = np.delete(np.arange(len(person.frames)), target) if len(person.frames) > 1 else np.array([target])
            chosen = random.choice(others, identity_frames, replace=len(others) < identity_frames)
            frames.append(person.frames[chosen])
            targets.append(person.frames[target])
            mattes.append(person.mattes[target])
    driver, matte = to_tensor(np.stack(targets)), to_tensor(np.stack(mattes))
    shape = (batch_size, identity_frames, *driver.shape[1:])
    identity = to_tensor(np.concatenate(frames)).view(shape) if identity_frames else torch.zeros(shape)
    return Batch(identity, driver, driver * matte, matte, torch.from_numpy(np.sort(labels)))


def _spread(random: np.random.Generator, count: int, wanted: int) -> np.ndarray:
    """`wanted` numbers below `count`, none repeated before all were drawn once."""
    rounds = [random.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(rounds)[:wanted]
