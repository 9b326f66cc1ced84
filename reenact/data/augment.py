"""Random changes of training frames, batched on the training device (kornia).

What is published (`dataloaders/common/augmentation.py` of the authors' code): of the driving frame alone, blur, noise,
brightness, colour, JPEG, contrast and elastic jitter, a few at a time, and x and y scaled apart; of driving frame,
target and matte together, a shift. Identity frames stay as they are.

Pose-only changes teach the pose encoder to ignore colour, sharpness and the shape of the face: with the narrow
descriptor they keep identity out of pose (section 3 of the paper). Joint changes move driver, target and matte
together but not the identity frames, so that the pose descriptor must carry at least the place of the head:
without them, little data collapses to one picture for all drivers.
"""

from dataclasses import replace

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from reenact.data.rank_batch import RankBatch, divide_batch
from reenact.data.samples import Batch
from reenact.settings.training import AugmentSettings

WHOLE_BATCH = ("order", "forward_input_shape")
"""kornia's parameters that do not belong to single samples."""


class Augmentation(nn.Module):
    """Pose-only and joint augmentation of a `Batch`; draws from torch's global random state.

    Everything is drawn for the step's whole batch, of which each rank uses what belongs to its samples (`rank_batch`).

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
            # Jitter of half a pixel at 256 px: edges get restless, the shape of the face stays.
            K.RandomElasticTransform((9, 9), (2.0, 2.0), (0.05, 0.05), padding_mode="reflection", p=0.1 * p),
        )
        self.colour = settings.colour
        low, high = 1 - settings.scale, 1 + settings.scale
        self.joint = K.RandomAffine(
            settings.rotation,
            (settings.shift, settings.shift),
            (low, high),
            padding_mode="reflection",
            p=settings.joint,
        )

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """The same shapes and ranges as `batch`."""
        rank_batch = batch.rank_batch or divide_batch(len(batch.driver))
        frame, matte, identity, emphasis = batch.driver, batch.matte, batch.identity_frames, batch.emphasis
        if self.joint.p > 0:
            # One call on stacked channels: all get the same transform.
            stacked = [frame, matte] if emphasis is None else [frame, matte, emphasis]
            frame, matte, *rest = (
                _apply(self.joint, torch.cat(stacked, 1), rank_batch)
                .clamp(0, 1)
                .split([t.shape[1] for t in stacked], 1)
            )
            emphasis = rest[0] if rest else None
        if self.colour > 0:
            frame, identity = self._colour(frame, identity, rank_batch)
        driver = frame
        for change in self.pose:
            driver = _apply(change, driver, rank_batch)
        return replace(
            batch,
            identity_frames=identity,
            driver=driver.clamp(0, 1),
            target=frame * matte,
            matte=matte,
            emphasis=emphasis,
        )

    def _colour(self, frame: Tensor, identity: Tensor, rank_batch: RankBatch) -> tuple[Tensor, Tensor]:
        """A gain for each channel and an exponent, one draw for all frames of a sample."""
        gain = 1 + 0.2 * (2 * torch.rand(rank_batch.batch_size, 3, 1, 1, device=frame.device) - 1)
        power = torch.exp(0.3 * (2 * torch.rand(rank_batch.batch_size, 1, 1, 1, device=frame.device) - 1))
        used = (torch.rand(rank_batch.batch_size, 1, 1, 1, device=frame.device) < self.colour).float()
        gain, power = ((1 + used * (value - 1))[rank_batch.indices] for value in (gain, power))
        return (frame**power * gain).clamp(0, 1), (identity ** power[:, None] * gain[:, None]).clamp(0, 1)


def _apply(change: K.AugmentationBase2D, images: Tensor, rank_batch: RankBatch) -> Tensor:
    """One of kornia's augmentations of B x C x H x W, a rank's part of a step's samples."""
    drawn = change.forward_parameters(torch.Size([rank_batch.batch_size, *images.shape[1:]]))
    return change(
        images,
        params={name: value if name in WHOLE_BATCH else value[rank_batch.indices] for name, value in drawn.items()},
    )
