"""Losses of the warping family."""

import pytest
import torch
from face_shapes import NARROW
from warping_models import seeing_model

from reenact.models.warping.network import GIVEN
from reenact.settings.meta import MetaSettings
from reenact.training.learner import Learner
from reenact.training.warping.losses import CLOSE_UP, WarpingObjective, enlarged, photo_terms, picture_terms, pictures
from reenact.training.warping.samples import WarpingBatch

SIDE = NARROW.working_size
SETTINGS = MetaSettings(preset="warping", perceptual_width=0.1)
SAID = {"mesh", "blendshapes"}
"""Terms about what the pose encoder says."""


def batch(references=3):
    torch.manual_seed(0)
    given = torch.rand(2, references, GIVEN, SIDE, SIDE)
    square = torch.zeros(2, 1, SIDE, SIDE)
    square[:, :, 8:16, 8:16] = 1
    matte = torch.ones(2, 1, SIDE, SIDE)
    code, near, grey = torch.randn(2, 4), torch.zeros(2, references), torch.full((2, 3, SIDE, SIDE), 0.5)
    mirrored = torch.zeros(2, references)
    mirrored[:, 1:] = 1
    close, source = torch.tensor([[0.5, 0.5, 0.4]] * 2), torch.full((2, 2 + references), -1)
    return WarpingBatch(given, square, code, near, mirrored, grey, matte, square, close, source)


def learner(settings=SETTINGS):
    model = seeing_model().requires_grad_(False)
    model.refiner.requires_grad_(True)
    return Learner(model, None, settings)


def test_pictures_are_the_photos_where_they_are_shared():
    ones = torch.ones(1, 1, 4, 4)
    made = {"photo": torch.cat([0.25 * ones.expand(-1, 3, -1, -1), 0.5 * ones], 1), "matte": 0.8 * ones}
    made |= {"generated": 0.1 * ones.expand(-1, 3, -1, -1), "share": 0.75 * ones}
    output, generated = pictures(made)
    assert output.unique().tolist() == pytest.approx([0.8 * (0.75 * 0.5 + 0.25 * 0.1)])
    assert generated.unique().tolist() == pytest.approx([0.08])


def test_terms_on_eyes_mouth_and_lips_are_means_over_them():
    samples = batch()
    output = samples.target + 0.2 * samples.emphasis
    terms = picture_terms(output, samples.target, samples.matte, samples)
    assert terms["eyes_mouth"] == pytest.approx(0.2) and terms["pixel"] == pytest.approx(0.2 * 64 / SIDE**2)
    terms = picture_terms(samples.target, output, samples.matte, samples)
    assert terms["generated_inside_lips"] == pytest.approx(0.2) and terms["generated_eyes_mouth"] == pytest.approx(0.2)
    assert terms["pixel"] == terms["eyes_mouth"] == 0 and terms["matte"] == pytest.approx(0, abs=1e-6)


def test_the_photo_that_is_right_is_to_be_trusted_and_taken():
    samples = batch(2)
    samples.given[:, 0, :3], samples.given[:, 1, :3], samples.given[:, :, 3] = 0.5, 0.9, 1
    half = torch.zeros(2, 2, 1, SIDE // 2, SIDE // 2)
    first = half + torch.tensor([5.0, -5.0]).view(1, 2, 1, 1, 1)

    def terms(photo, trust, keep):
        kept = torch.full((2, 1, SIDE, SIDE), keep)
        photos = torch.full((2, 4, SIDE, SIDE), photo)
        return photo_terms({"photo": photos, "trust": trust, "keep": kept}, samples)

    right, wrong = terms(0.5, first, 5.0), terms(0.9, first.flip(1), 5.0)
    assert right["photo"] == 0 and wrong["photo"] == pytest.approx(0.4)
    assert right["choice"] < 0.01 < 5 < wrong["choice"] and right["share"] < 0.01 < 4 < wrong["share"]


def test_gradients_reach_the_whole_refiner_and_nothing_else():
    one, samples = learner(), batch()
    for parameter in one.reenactor.refiner.parameters():  # nothing is at zero, as it is before the first step
        parameter.data.add_(0.01 * torch.randn(parameter.shape))
    objective = WarpingObjective(SETTINGS)
    terms, discriminator_loss = objective(one, samples)
    assert discriminator_loss is None and set(terms) == set(type(SETTINGS.warping.losses).model_fields) - SAID
    sum(terms.values()).backward()
    reached = {name for name, parameter in one.reenactor.named_parameters() if parameter.grad is not None}
    assert reached == {f"refiner.{name}" for name, _ in one.reenactor.refiner.named_parameters()}
    assert all(parameter.grad.abs().sum() > 0 for parameter in one.reenactor.refiner.parameters())


def test_a_weight_of_zero_leaves_a_term_out_and_a_single_photo_leaves_no_choice():
    settings = MetaSettings.model_validate({"warping": {"losses": {"perceptual": 0, "photo": 0}}})
    objective = WarpingObjective(settings)
    assert objective.perceptual is None and objective.described == []
    terms, _ = objective(learner(settings), batch(1))
    assert not {"perceptual", "photo", "choice"} & set(terms) and {"pixel", "share"} < set(terms)


def test_output_generated_picture_and_a_close_view_take_turns_at_the_perceptual_loss():
    one, samples, objective = learner(), batch(1), WarpingObjective(SETTINGS)
    found = []
    for step in (0, 1, 2, 3):
        one.step = step
        found.append(objective(one, samples)[0]["perceptual"].item())
    assert found[0] == found[3] and len(set(found)) == 3


def test_a_square_is_seen_from_close_by():
    ramp = (torch.arange(SIDE) + 0.5).expand(1, 1, SIDE, SIDE) / SIDE
    seen = enlarged(torch.cat([ramp, ramp.mT], 1), torch.tensor([[0.5, 0.25, 0.25]]))
    size = round(CLOSE_UP * SIDE)
    wanted = (torch.arange(size) + 0.5) / size * 0.25
    assert seen.shape == (1, 2, size, size)
    torch.testing.assert_close(seen[0, 0, 0], 0.375 + wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0, 1, :, 0], 0.125 + wanted, atol=1e-5, rtol=0)
