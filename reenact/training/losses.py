"""Losses (section 3 of the paper); those on feature maps live beside their networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reenact.models.vgg import PerceptualNetwork, perceptual_loss
from reenact.models.vgg_weights import perceptual_network
from reenact.settings.training import CROP_SCALE, TrainingSettings
from reenact.training import distributed


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of the generator: scores B -> scalar."""
    return -fake.mean()


def hinge_discriminator(fake: Tensor, real: Tensor) -> Tensor:
    """Hinge loss of the discriminator: scores B and B -> scalar, at least 0."""
    return functional.relu(1 + fake).mean() + functional.relu(1 - real).mean()


def dice(matte: Tensor, target: Tensor) -> Tensor:
    """-log of the Dice coefficient of two mattes B x 1 x H x W in [0, 1], taken over the whole batch; 0 when equal."""
    overlap, ours, theirs = _sums(matte, target)
    return -((2 * overlap + 1e-6) / (ours + theirs + 1e-6)).log()


def published_dice(matte: Tensor, target: Tensor) -> Tensor:
    """As the authors compute it: their target mask has three equal channels against one predicted.

    The product and the target's squares so count three times, the matte's squares once: for equal mattes of 0 and 1 it
    is -log 1.5, and soft edges are wanted sqrt(3) times too high.
    """
    overlap, ours, theirs = _sums(matte, target)
    return -((6 * overlap + 1e-6) / (ours + 3 * theirs + 1e-6)).log()


def _sums(matte: Tensor, target: Tensor) -> Tensor:
    """Sums of the product and of both squares, over the samples of all ranks: 3."""
    return distributed.all_reduce_sum(
        torch.stack([(matte * target).sum(), matte.square().sum(), target.square().sum()])
    )


def face_region(images: Tensor, crop_scale: float) -> Tensor:
    """The face box, central 1 / `crop_scale` of B x C x H x W, enlarged to the same size (bilinear)."""
    zoom = torch.eye(2, 3, device=images.device) * (1 / crop_scale)
    grid = functional.affine_grid(zoom.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


class ImageLosses(nn.Module):
    """The terms that compare the generator's output with the true frame; terms of weight 0 are left out.

    Args:
        settings: weights, form of the losses, and which perceptual networks.

    Raises:
        UserError: a file of weights is missing or not what it should be.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        super().__init__()
        self._weights = settings.losses
        self._dice = published_dice if settings.losses.form == "published" else dice
        self._crop_scale = settings.crop_scale or CROP_SCALE
        self.described: list[str] = []
        self.perceptual = self._network(settings, "perceptual", settings.perceptual_weights, "vgg19")
        self.face_perceptual = self._network(settings, "face_perceptual", settings.face_perceptual_weights, "vgg16")

    def _network(
        self, settings: TrainingSettings, term: str, weights: str | None, layout: str
    ) -> PerceptualNetwork | None:
        if not getattr(settings.losses, term):
            return None
        published = settings.losses.form == "published"
        network, name = perceptual_network(weights, layout, width=settings.perceptual_width, published=published)
        self.described.append(f"{term} loss: {name}")
        return network

    def forward(
        self, output: Tensor, matte: Tensor, target: Tensor, target_matte: Tensor, emphasis: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Images B x 3 x H x W, mattes and emphasis (`Batch`) B x 1 x H x W -> terms without their weights, scalars."""
        terms: dict[str, Tensor] = {}
        if self.perceptual is not None:
            terms["perceptual"] = perceptual_loss(self.perceptual, output, target)
        if self.face_perceptual is not None:
            faces = (face_region(images, self._crop_scale) for images in (output, target))
            terms["face_perceptual"] = perceptual_loss(self.face_perceptual, *faces)
        if self._weights.pixel:
            terms["pixel"] = functional.l1_loss(output, target)
        if self._weights.eyes_mouth and emphasis is not None:
            terms["eyes_mouth"] = ((output - target).abs() * emphasis).mean() / distributed.all_reduce_mean(
                emphasis.mean()
            ).clamp_min(1e-3)
        if self._weights.dice:
            terms["dice"] = self._dice(matte, target_matte)
        return terms
