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
        self.colour = settings.colour
        low, high = 1 - settings.scale, 1 + settings.scale
        self.joint = K.RandomAffine(
            settings.rotation, (settings.shift, settings.shift), (low, high), padding_mode="reflection", p=settings.joint
        )

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """The same shapes and ranges as `batch`."""
        frame, matte, identity, emphasis = batch.driver, batch.matte, batch.identity_frames, batch.emphasis
        if self.joint.p > 0:
            stacked = [frame, matte] if emphasis is None else [frame, matte, emphasis]
            frame, matte, *rest = self._move(torch.cat(stacked, 1)).split([t.shape[1] for t in stacked], 1)
            emphasis = rest[0] if rest else None
        if self.colour > 0:
            frame, identity = self._colour(frame, identity)
        driver, target = self.pose(frame).clamp(0, 1), frame * matte
        return replace(batch, identity_frames=identity, driver=driver, target=target, matte=matte, emphasis=emphasis)

    def _colour(self, frame: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """A gain for each channel and an exponent, one draw for all frames of a sample."""
        batch = len(frame)
        gain = 1 + 0.2 * (2 * torch.rand(batch, 3, 1, 1, device=frame.device) - 1)
        power = torch.exp(0.3 * (2 * torch.rand(batch, 1, 1, 1, device=frame.device) - 1))
        used = (torch.rand(batch, 1, 1, 1, device=frame.device) < self.colour).float()
        gain, power = 1 + used * (gain - 1), 1 + used * (power - 1)
        return (frame**power * gain).clamp(0, 1), (identity ** power[:, None] * gain[:, None]).clamp(0, 1)

    def _move(self, stacked: Tensor) -> Tensor:
        # One call on stacked channels: frame and matte get the same transform.
        return self.joint(stacked).clamp(0, 1)
