"""Random changes of training frames, batched on the training device (kornia).

Pose-only changes teach the pose encoder to ignore colour, sharpness and the shape of the face: with the narrow
descriptor they keep identity out of pose (section 3 of the paper). Joint changes move driver, target and matte
together but not the identity frames, so that the pose descriptor must carry at least the place of the head:
without them, little data collapses to one picture for all drivers.
"""

from dataclasses import replace

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from reenact.learning.data import Batch
from reenact.settings.training import AugmentSettings


class Augmentation(nn.Module):
    """Pose-only and joint augmentation of a `Batch`; draws from torch's global random state.

    Args:
        settings: probabilities and ranges.
    """

    def __init__(self, settings: AugmentSettings) -> None:
        super().__init__()
        p = settings.pose
        self.pose = nn.Sequential(
            K.ColorJiggle(brightness=0.25, contrast=0.25, saturation=0.3, hue=0.06, p=0.8 * p),
            K.RandomGaussianBlur((3, 3), (0.3, 1.5), p=0.3 * p),
            K.RandomGaussianNoise(std=0.03, p=0.3 * p),
            K.RandomJPEG((30.0, 90.0), p=0.2 * p),
            K.RandomAffine(0.0, scale=(0.8, 1.2, 0.8, 1.2), padding_mode="reflection", p=0.5 * p),
        )
        low, high = 1 - settings.scale, 1 + settings.scale
        self.joint = K.RandomAffine(
            settings.rotation, (settings.shift, settings.shift), (low, high), padding_mode="reflection", p=settings.joint
        )

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """The same shapes and ranges as `batch`."""
        driver, matte = batch.driver, batch.matte
        frame = driver
        if self.joint.p > 0:
            frame, matte = self._move(torch.cat([driver, matte], 1)).split([3, 1], 1)
        return replace(batch, driver=self.pose(frame).clamp(0, 1), target=frame * matte, matte=matte)

    def _move(self, stacked: Tensor) -> Tensor:
        # One call on stacked channels: frame and matte get the same transform.
        return self.joint(stacked).clamp(0, 1)
