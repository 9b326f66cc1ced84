"""What the refiner learns by.

The generated picture has losses of its own: without them it starves where photos serve. How much is taken from the
photos is taught by where they are wrong, and which of them by which is right.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from reenact.models.vgg import PerceptualNetwork, perceptual_loss
from reenact.models.vgg_weights import perceptual_network
from reenact.models.warping.compose import LEAST, compose
from reenact.settings.training import TrainingSettings
from reenact.training import distributed
from reenact.training.learner import Learner
from reenact.training.losses import dice
from reenact.training.objective import Objective
from reenact.training.warping.said import as_said
from reenact.training.warping.samples import WarpingBatch, WarpingSampler

WRONG, RIGHTER = 5.0, 25.0
"""How fast a photo's share falls with its error, and how fast the trust in it against other photos."""

NEAR = 5
"""Side of the square over which errors are averaged, px."""

CLOSE_UP = 0.75
"""Side of what is seen of eyes and lips from close by, in sides of the picture."""

TURNS = 3
"""Pictures that the perceptual loss looks at, one a step."""

FEW = 1e-3, 1e-4
"""Least fractions of the picture that eyes and mouth, and what lies between the lips, count as."""


class WarpingObjective(Objective[WarpingBatch]):
    """Pictures as the true ones, made of photos where these are right.

    Args:
        settings: loss weights (`warping.losses`), and the perceptual network.
        sampler: of the samples; knows the frames that the pose encoder learns by, if it does (`warping.said`).

    Raises:
        UserError: a file of weights is missing or not what it should be.
    """

    def __init__(self, settings: TrainingSettings, sampler: WarpingSampler | None = None) -> None:
        super().__init__()
        self._sampler = sampler
        self.weights = settings.warping.losses.model_dump()
        self.described, self.perceptual = [], None
        self.period = math.lcm(TURNS, len(settings.warping.references))
        if self.weights["perceptual"]:
            network, name = perceptual_network(settings.perceptual_weights, "vgg19", width=settings.perceptual_width)
            self.perceptual, self.described = network, [f"perceptual loss: {name}"]

    def forward(self, learner: Learner, batch: WarpingBatch) -> tuple[dict[str, Tensor], None]:
        """See `Objective`."""
        model = learner.reenactor
        taught: dict[str, Tensor] = {}
        if self._sampler is not None and learner.settings.warping.said:
            batch, taught = as_said(model, batch, self._sampler)
        given = batch.given, batch.lips, batch.expression, batch.nearness, batch.mirrored
        made = compose(model.refiner, *given)
        # In bfloat16 the network puts out bfloat16; losses are taken in the targets' precision.
        made = {name: value.to(batch.target.dtype) for name, value in made.items()}
        output, generated = pictures(made)
        terms = picture_terms(output, generated, made["matte"], batch) | photo_terms(made, batch) | taught
        if self.perceptual is not None:
            terms["perceptual"] = self._perceptual(self.perceptual, output, generated, batch, learner.step)
        weighted = {name: value * self.weights[name] for name, value in terms.items() if self.weights[name]}
        return weighted, None

    def _perceptual(
        self, network: PerceptualNetwork, output: Tensor, generated: Tensor, batch: WarpingBatch, step: int
    ) -> Tensor:
        """Of output, generated picture, and the output's eyes and lips from close by: in turn, a third of the cost."""
        part, turn = batch.target, step % TURNS
        if turn == 2:
            output, part = (enlarged(picture, batch.close) for picture in (output, batch.target))
        return perceptual_loss(network, generated if turn == 1 else output, part).to(output.dtype)


def pictures(made: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Output and generated picture, B x 3 x S x S each and times the matte, of what `compose` gives."""
    photo, share, matte = made["photo"], made["share"], made["matte"]
    colour = (photo[:, :3] / photo[:, 3:].clamp_min(LEAST)).clamp(0, 1)
    return (share * colour + (1 - share) * made["generated"]) * matte, made["generated"] * matte


def enlarged(pictures: Tensor, squares: Tensor) -> Tensor:
    """Squares B x 3 (x and y of the middle, side; fractions) of pictures B x C x S x S, CLOSE_UP of S large."""
    size = round(CLOSE_UP * pictures.shape[-1])
    steps = ((torch.arange(size, device=squares.device) + 0.5) / size - 0.5) * squares[:, 2:]
    x, y = (2 * (squares[:, k, None] + steps) - 1 for k in (0, 1))
    at = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], 3)
    return functional.grid_sample(pictures, at, mode="bilinear", padding_mode="border", align_corners=False)


def picture_terms(output: Tensor, generated: Tensor, matte: Tensor, batch: WarpingBatch) -> dict[str, Tensor]:
    """Terms without their weights that compare pictures and matte with the target, scalars."""
    output_error, generated_error = (output - batch.target).abs(), (generated - batch.target).abs()
    return {
        "pixel": output_error.mean(),
        "generated": generated_error.mean(),
        "eyes_mouth": _within(output_error, batch.emphasis, FEW[0]),
        "generated_eyes_mouth": _within(generated_error, batch.emphasis, FEW[0]),
        "generated_inside_lips": _within(generated_error, batch.lips, FEW[1]),
        "matte": dice(matte, batch.matte) + functional.l1_loss(matte, batch.matte),
    }


def photo_terms(made: dict[str, Tensor], batch: WarpingBatch) -> dict[str, Tensor]:
    """Terms without their weights about the photos: how they are moved, and where which of them is taken, scalars."""
    moved = made["photo"][:, :3]
    with torch.no_grad():
        wrong = _blurred((moved - batch.target).abs().mean(1, keepdim=True))
        wanted = torch.exp(-WRONG * wrong)
    terms = {
        "photo": functional.l1_loss(moved, batch.target),
        "share": functional.binary_cross_entropy_with_logits(made["keep"], wanted),
    }
    if batch.given.shape[1] > 1:
        with torch.no_grad():
            colour = (batch.given[:, :, :3] - batch.target[:, None]).abs().mean(2)
            errors = _blurred(colour + (batch.given[:, :, 3] - batch.matte).abs())
            best = torch.softmax(-RIGHTER * functional.avg_pool2d(errors, 2), 1)
        terms["choice"] = -(best * torch.log_softmax(made["trust"][:, :, 0], 1)).sum(1).mean()
    return terms


def _within(error: Tensor, mask: Tensor, least: float) -> Tensor:
    """Mean error where a mask B x 1 x S x S is, over the samples of all ranks."""
    return (error * mask).mean() / distributed.all_reduce_mean(mask.mean()).clamp_min(least)


def _blurred(error: Tensor) -> Tensor:
    """B x C x S x S, each pixel the mean of its neighbourhood."""
    return functional.avg_pool2d(functional.pad(error, (NEAR // 2,) * 4, mode="replicate"), NEAR, 1)
