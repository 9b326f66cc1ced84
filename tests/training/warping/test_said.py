"""The pose encoder learns on by the pictures."""

import pytest
import torch
from warping_models import seeing_model
from warping_samples import clip, sampler

from reenact.data.rank_batch import divide_batch
from reenact.settings.meta import MetaSettings
from reenact.training.learner import Learner
from reenact.training.loop import backward
from reenact.training.warping.losses import WarpingObjective
from reenact.training.warping.said import as_said


def model():
    """Descriptors that say something."""
    one = seeing_model()
    torch.manual_seed(0)
    one.face.readout.normal_(0, 0.01)
    one.face.basis.normal_(0, 0.01)
    return one


@pytest.fixture(scope="module")
def clips():
    return [clip("anna", 12), clip("ben", 1, 1)]


def samples(clips, **warping):
    return sampler(clips, divide_batch(4), **({"stills": 0, "said": 1, "references": [2]} | warping))


def test_photos_move_as_the_encoder_says(clips):
    """As those of an avatar of these photos would; and what says nothing of the encoder stays."""
    one, draw = model(), samples(clips, exact=1)
    batch = draw(0)
    moved, terms = as_said(one, batch, draw)
    assert not torch.allclose(moved.given, batch.given) and torch.equal(moved.target, batch.target)
    assert terms["mesh"] > 0 and terms["blendshapes"] > 0
    frames = draw.frames_of(batch.source[0])
    read = one.face.read(one.pose_encoder(torch.nn.functional.interpolate(frames.pictures, (256, 256))))
    wanted = read.head[0] + (frames.heads[1:] - read.head[1:]).mean(0)
    one.face.readout.zero_()
    still, _ = as_said(one, batch, draw)
    assert not torch.allclose(still.given, moved.given)
    assert (wanted - frames.heads[0]).abs().max() > 1e-3


def test_an_encoder_that_is_right_has_no_error(clips):
    """A photo of the target itself: what the encoder says of both is the same, whatever it is."""
    one, draw = model(), samples(clips, references=[1])
    batch = draw(0)
    batch.source[:, 2:] = batch.source[:, 1:2]
    _, terms = as_said(one, batch, draw)
    assert terms["mesh"] < 1e-6


def test_stills_teach_the_encoder_nothing(clips):
    draw = samples(clips, stills=1)
    batch = draw(0)
    moved, terms = as_said(model(), batch, draw)
    assert moved is batch and terms["mesh"] == terms["blendshapes"] == 0


@pytest.mark.parametrize("stills", [0, 1])
def test_gradients_reach_encoder_and_refiner_in_every_rank(clips, stills):
    """Also where a rank has stills alone: ranks exchange gradients of the same weights."""
    settings = MetaSettings(
        preset="warping", perceptual_width=0.1, precision="fp32", warping={"said": 1, "stills": stills}
    )
    one, draw = model().requires_grad_(False), samples(clips, stills=stills)
    one.refiner.requires_grad_(True)
    one.pose_encoder.requires_grad_(True)
    learner = Learner(one, None, settings)
    losses = backward(learner, draw(0).micro_batches(), WarpingObjective(settings, draw))
    assert (losses["mesh"] > 0) == (stills == 0)
    for name, parameter in one.named_parameters():
        assert (parameter.grad is not None) == name.startswith(("refiner.", "pose_encoder.")), name
    moved = sum(parameter.grad.abs().sum() for parameter in one.pose_encoder.parameters())
    assert (moved > 0) == (stills == 0)
