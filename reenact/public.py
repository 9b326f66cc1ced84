"""The package's public face: `from reenact import Avatar`.

Apart from `avatar`, because following a video takes the stages decode and crop: stages that drive crops would otherwise
run again, and trainings begin anew, whenever the cropping is edited.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from reenact import avatar
from reenact.data.clip import Clip
from reenact.data.sequence import frames_of, images
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip


class Avatar(avatar.Avatar):
    """An avatar, or a meta-model, that follows face crops and videos."""

    def drive(
        self,
        source: str | Path | avatar.Source,
        identity: Tensor | None = None,
        batch_size: int = 8,
        adjust: Callable[[Tensor], Tensor] | None = None,
        crop: CropSettings | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Follow a driver, batch by batch; memory does not grow with the driver's length.

        Args:
            source: a video file (its face is found, followed and cropped as training data are), or crops: a tensor
                N x 3 x H x H in [0, 1], or any iterable of uint8 arrays H x H x 3.
            identity: I or 1 x I; a meta-model needs it.
            batch_size: frames at once.
            adjust: changes the pose descriptors, b x P -> b x P; called batch by batch, in order.
            crop: how to crop a video; None = the defaults.

        Returns:
            Yields RGB b x 3 x S x S and matte b x 1 x S x S, as `render` does, in the order of the frames.

        Raises:
            UserError: a meta-model without `identity`; no such video, or no face in it; other shapes, types or ranges.
        """
        if isinstance(source, str | Path):
            source = _video_crops(Path(source), crop or CropSettings())
        return super().drive(source, identity, batch_size, adjust)


def _video_crops(media: Path, settings: CropSettings) -> Iterator[np.ndarray]:
    """The face crops of every frame of a driving video, uint8, through the stages decode and crop."""
    with tempfile.TemporaryDirectory(prefix="reenact-driver-") as folder:
        frames, source, crops = (Path(folder, name) for name in ("frames.csv", "source.json", "crops.zip"))
        decode_clip(
            media=media,
            frames=frames,
            source=source,
            role="driver",
            start=None,
            end=None,
            holdout=0.0,
            settings=DecodeSettings(),
        )
        crop_clip(media=media, frames=frames, crops=crops, settings=settings)
        clip = Clip(crops)
        yield from images(clip, frames_of(clip, "drive")["image"].tolist())
