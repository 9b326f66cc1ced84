"""What the warping family makes of moved photos: a picture."""

import torch
from torch import Tensor
from torch.nn import functional

from reenact.models.warping.light import light_of_photos, lit
from reenact.models.warping.network import Refiner
from reenact.models.warping.reference import Moved, Reference
from reenact.models.warping.splat import fill

DARK = 0.6
"""How much darker than the lips the inside of a mouth is taken to be."""

EDGE = 0.005
"""Mattes below it count as 0."""

LEAST = 0.05
"""Of a matte by which colours are divided."""


def sample(images: Tensor, flow: Tensor) -> Tensor:
    """Pictures as a flow moves them: B x C x R x R and B x 2 x S x S (fractions) -> B x C x S x S."""
    side = flow.shape[-1]
    steps = (torch.arange(side, device=flow.device, dtype=flow.dtype) + 0.5) / side
    grid = torch.stack([steps.expand(side, side), steps[:, None].expand(side, side)])
    at = (grid + flow).permute(0, 2, 3, 1) * 2 - 1
    return functional.grid_sample(images, at, mode="bilinear", padding_mode="border", align_corners=False)


def inside(outline: Tensor, side: int) -> Tensor:
    """Which pixels lie within outlines: B x V x 2 (fractions, in order) -> B x 1 x side x side, 0 to 1.

    By how often a ray to the right crosses the outline; four rays a pixel soften the edge.
    """
    fine = 2 * side
    steps = (torch.arange(fine, device=outline.device, dtype=outline.dtype) + 0.5) / fine
    x, y = steps[None, None, None, :], steps[None, None, :, None]
    start, end = outline, outline.roll(-1, 1)
    x1, y1, x2, y2 = (p[..., k][:, :, None, None] for p in (start, end) for k in (0, 1))
    spans = (y1 > y) != (y2 > y)
    slope = (x2 - x1) / torch.where((y2 - y1).abs() < 1e-9, torch.full_like(y1, 1e-9), y2 - y1)
    crossings = (spans & (x < x1 + slope * (y - y1))).sum(1, keepdim=True)
    return functional.avg_pool2d((crossings % 2).to(outline.dtype), 2)


def compose(
    refiner: Refiner, given: Tensor, lips: Tensor, expression: Tensor, nearness: Tensor, mirrored: Tensor
) -> dict[str, Tensor]:
    """The refiner's answer as pictures, at the working size.

    Args:
        refiner: the network.
        given: B x K x GIVEN x S x S, warped references.
        lips: B x 1 x S x S, between the lips: there nothing is taken from the photos.
        expression: B x E.
        nearness: B x K, how like the wanted face each reference is.
        mirrored: B x K, 1 for a mirror image.

    Returns:
        light (`light_of_photos`), weights and colours (B x K x 1 x S x S, of the references and of their colours),
        trust (logits of the weights at S/2), flow (B x 2 x S x S, to add to the references' own), photo (B x 4: RGB x
        matte, matte, as the references show them), matte (B x 1), generated (B x 3, straight), share and keep (B x 1,
        how much is taken from the photos, and its logit), matte_change (B x 1, logit), covered and before (B x 1, where
        photos land, and their mattes where they were, but above all that landed).
    """
    light = light_of_photos(given, mirrored)
    alike = lit(given[:, :, :4].flatten(0, 1), light.flatten(0, 1)).unflatten(0, mirrored.shape)
    given = torch.cat([alike, given[:, :, 4:]], 2)
    answer = refiner(given, lips, expression, nearness, mirrored)
    blended = (given * answer["confidence"]).sum(1)
    covered = blended[:, 4:5]
    shown = (given[:, :, :4] * answer["colours"]).sum(1)
    matte, shown = sample(torch.cat([blended[:, 3:4], shown], 1), answer["flow"]).split([1, 4], 1)
    photo = recoloured(shown, matte)
    colour = fill(photo[:, :3] / photo[:, 3:].clamp_min(LEAST), photo[:, 3:] * covered)
    # What no photo shows between the lips begins as a dark mouth, not as a lip.
    colour = (colour * (1 - DARK * lips * (1 - covered))).clamp(0.02, 0.98)
    keep, change = 4 * answer["share"] + 2, 4 * answer["matte"]
    before = blended[:, -1:] * highest_above(covered * photo[:, 3:])
    return {
        "light": light,
        "weights": answer["confidence"],
        "colours": answer["colours"],
        "trust": answer["trust"],
        "flow": answer["flow"],
        "photo": photo,
        "covered": covered,
        "matte": changed_matte(expected_matte(photo[:, 3:], covered, before), change),
        "matte_change": change,
        "generated": torch.sigmoid(4 * answer["rgb"] + torch.logit(colour)),
        "keep": keep,
        "share": torch.sigmoid(keep) * (1 - lips) * covered,
        "before": before,
    }


def recoloured(shown: Tensor, matte: Tensor) -> Tensor:
    """The colours of some pictures under the matte of others: B x 4 (RGB x matte, matte) and B x 1 -> B x 4."""
    return torch.cat([(shown[:, :3] / shown[:, 3:].clamp_min(LEAST)).clamp(0, 1) * matte, matte], 1)


def expected_matte(matte: Tensor, covered: Tensor, before: Tensor) -> Tensor:
    """The matte as far as photos know it: where nothing lands and the person was, it may be either."""
    return covered * matte + (1 - covered) * 0.5 * before


def highest_above(values: Tensor) -> Tensor:
    """The largest value of each pixel's column from the upper edge down to it: B x 1 x S x S -> B x 1 x S x S.

    Where the person was and nothing lands, the person may still be, if not above everything that landed: a head that
    looks up leaves air above it.
    """
    side = values.shape[2]
    return functional.max_pool2d(functional.pad(values, (0, 0, side - 1, 0)), (side, 1), stride=1)


def changed_matte(matte: Tensor, change: Tensor) -> Tensor:
    """A matte whose logit is changed; what is 0 or 1 stays so where nothing changes."""
    changed = torch.sigmoid(torch.logit(matte.clamp(EDGE, 1 - EDGE)) + change)
    return ((changed - EDGE) / (1 - 2 * EDGE)).clamp(0, 1)


def given_channels(reference: Reference, moved: Moved) -> Tensor:
    """What the refiner is given of one reference, and where it goes -> B x GIVEN x S x S."""
    count = moved.flow.shape[0]
    warped = sample(moved.shown, moved.flow)
    far = 4 * moved.flow.norm(dim=1, keepdim=True)
    before = reference.before.expand(count, -1, -1, -1)
    return torch.cat([warped, moved.coverage, moved.canonical, far, before], 1)
