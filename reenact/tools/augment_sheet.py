"""A picture of what augmentation does to training samples, to look at before days of training."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.data.augment import Augmentation
from reenact.data.images import to_uint8
from reenact.data.samples import Batch, Sampler
from reenact.data.shard_people import Shards
from reenact.data.training_clips import Clips
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write
from reenact.settings.meta import MetaSettings

COLUMNS = ("identity", "frame", "pose only", "joint only: driver", "target", "all: driver", "target", "matte")


def draw_augment_sheet(
    *,
    crops: Sequence[Path],
    mattes: Sequence[Path],
    shards: Sequence[Path],
    sheet: Path,
    samples: int,
    size: int,
    settings: MetaSettings,
) -> None:
    """Write a picture with one row a sample and the columns COLUMNS.

    Args:
        crops, mattes: clip files of stages crop and segment, one pair a clip; or none.
        shards: files of stage shard, in place of them.
        sheet: picture to write (.png).
        samples: rows; those of the first steps of training.
        size: side of the images, px.
        settings: `seed`, `augment`, and what samples are drawn by.

    Raises:
        UserError: neither clips nor shards are given, or they cannot be read.
    """
    if not crops and not shards:
        raise UserError("--crops and --shard-files: give the one or the other")
    source = Shards(shards, "train", settings.sample_of) if shards else Clips(crops, mattes)
    batch = Sampler(source.load(size), settings, samples, max(1, settings.identity_frames))(1)
    off = {"pose": 0.0, "joint": 0.0, "colour": 0.0}
    pose = _changed(batch, settings, off | {"pose": settings.augment.pose})
    joint = _changed(batch, settings, off | {"joint": settings.augment.joint})
    both = _changed(batch, settings, {})
    shown = (
        batch.identity_frames[:, 0],
        batch.driver,
        pose.driver,
        joint.driver,
        joint.target,
        both.driver,
        both.target,
        both.matte,
    )
    with atomic_write(sheet) as temporary:
        cv2.imwrite(str(temporary), np.vstack([_header(size), *_rows(shown)])[..., ::-1])


def _changed(batch: Batch, settings: MetaSettings, values: dict[str, float]) -> Batch:
    """The batch as training would see it with other probabilities; the seed is that of its step."""
    torch.manual_seed(settings.seed * 1_000_003 + 1)
    return Augmentation(settings.augment.model_copy(update=values))(batch)


def _rows(columns: Sequence[Tensor]) -> list[np.ndarray]:
    """Columns of B x C x S x S -> B pictures, uint8 S x W x 3."""
    images = [to_uint8(column.expand(-1, 3, -1, -1)) for column in columns]
    return [np.hstack(list(row)) for row in zip(*images, strict=True)]


def _header(size: int) -> np.ndarray:
    """The names of the columns, white on black."""
    height = max(14, size // 9)
    scale = height / 40
    bar = np.zeros((height, size * len(COLUMNS), 3), np.uint8)
    for number, name in enumerate(COLUMNS):
        cv2.putText(
            bar, name, (number * size + 3, height - 4), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA
        )
    return bar
