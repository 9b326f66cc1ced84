"""Loss terms against values worked out by hand, and which perceptual networks they use."""

import math

import pytest
import torch

from reenact.settings.crop import CropSettings
from reenact.settings.training import CROP_SCALE, LossWeights, TrainingSettings
from reenact.training.losses import ImageLosses, dice, face_region, hinge_discriminator, hinge_generator, published_dice


def test_hinge():
    fake, real = torch.tensor([-2.0, 0.5]), torch.tensor([2.0, 0.0])
    assert hinge_generator(fake).item() == pytest.approx(0.75)
    assert hinge_discriminator(fake, real).item() == pytest.approx((0 + 1.5) / 2 + (0 + 1) / 2)


def test_dice():
    ones, half = torch.ones(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5)
    assert dice(ones, ones).item() == pytest.approx(0, abs=1e-6)
    assert dice(half, ones).item() == pytest.approx(-math.log(2 * 0.5 / (0.25 + 1)), abs=1e-5)
    assert dice(torch.zeros_like(ones), ones).item() > 10


def test_published_dice_counts_the_mask_three_times():
    ones, half = torch.ones(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5)
    assert published_dice(ones, ones).item() == pytest.approx(-math.log(1.5), abs=1e-6)
    assert published_dice(half, ones).item() == pytest.approx(-math.log(6 * 0.5 / (0.25 + 3)), abs=1e-6)
    soft = published_dice(half, half), published_dice(half * 3**0.5, half)
    assert soft[1] < soft[0], "the quirk: soft edges are wanted too high"


def test_face_region_is_the_middle_at_full_size():
    image = torch.zeros(1, 1, 36, 36)
    image[:, :, 8:28, 8:28] = 1  # 20 of 36 px = 1 / 1.8
    assert face_region(image, 1.8).mean() > 0.95 and face_region(1 - image, 1.8).mean() < 0.05
    ramp = torch.linspace(0, 1, 36).expand(1, 1, 36, 36)
    for scale in (1.0, 1.8, 3.0):
        assert face_region(ramp, scale)[0, 0, 0, 0].item() == pytest.approx(0.5 - 0.5 / scale, abs=0.02)


def test_the_face_perceptual_loss_sees_the_face_of_these_crops():
    """What differs lies between the face boxes of crops of scale 1.8, which is the default, and of scale 3."""
    weights = LossWeights(perceptual=0, face_perceptual=1, dice=0)
    ring, matte = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    ring[..., 16:48, 16:48] = 1
    ring[..., 20:44, 20:44] = 0
    found = {}
    for scale in (None, 1.8, 3.0):
        losses = ImageLosses(TrainingSettings(losses=weights, perceptual_width=0.1, crop_scale=scale))
        found[scale] = losses(ring, matte, torch.zeros_like(ring), matte)["face_perceptual"].item()
    assert found[None] == found[1.8] > 0 == found[3.0]
    assert CropSettings().scale == CROP_SCALE == 1.8


def test_terms_of_weight_zero_are_left_out_and_the_rest_reaches_the_output():
    settings = TrainingSettings(losses=LossWeights(pixel=1, face_perceptual=1, dice=0), perceptual_width=0.1)
    losses = ImageLosses(settings)
    assert [line.split(",")[0] for line in losses.described] == [
        "perceptual loss: vgg19 with fixed random weights",
        "face_perceptual loss: vgg16 with fixed random weights",
    ]
    output, matte = torch.rand(1, 3, 32, 32, requires_grad=True), torch.rand(1, 1, 32, 32)
    terms = losses(output, matte, torch.rand(1, 3, 32, 32), matte)
    assert set(terms) == {"perceptual", "face_perceptual", "pixel"}
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, output, retain_graph=True)
        assert gradient.abs().sum() > 0, name
    assert ImageLosses(TrainingSettings(losses=LossWeights(perceptual=0))).described == []


def test_published_form_brings_the_published_weights_unless_others_are_given():
    losses = LossWeights(form="published")
    assert (losses.perceptual, losses.face_perceptual, losses.feature_matching) == (3e-2, 6e-3, 10)
    assert LossWeights(form="published", perceptual=1).perceptual == 1
    assert LossWeights().face_perceptual == 0
