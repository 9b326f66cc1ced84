"""The training loop: it learns, it resumes exactly, it stops on nonsense."""

import os
import signal

import pytest
import torch
from people import write_person

from reenact.errors import InterruptedRun, UserError
from reenact.learning.checkpoint import RunFolder, fingerprint
from reenact.learning.data import PeopleInMemory, load_person, sample
from reenact.learning.interruption import SIGNALS
from reenact.learning.learner import Learner
from reenact.learning.pose_warmup import scale_descriptors
from reenact.learning.sharing import own_share
from reenact.learning.training import train
from reenact.learning.validation import pose_response
from reenact.model import Reenactor, build_discriminator
from reenact.networks.architecture import Architecture
from reenact.settings.meta import MetaSettings
from reenact.settings.training import AugmentSettings, LossWeights

TINY = Architecture(
    image_size=32, identity_dim=32, pose_dim=16, generator_channels=16, max_channels=32, discriminator_channels=8,
    discriminator_blocks=2, identity_layers=(1, 1, 1, 1), identity_width=8, identity_groups=4, pose_width=0.25, pose_dropout=0.0,
)  # fmt: skip
SETTINGS = MetaSettings(
    learning_rate=2e-3, discriminator_learning_rate=2e-3, ema=0.9, perceptual_width=0.1, checkpoint_every=5,
    losses=LossWeights(pixel=10), identity_frames=1, batch_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return [load_person(*write_person(folder, name, 12), 32) for name in ("red", "blue")]


def new_learner(settings=SETTINGS):
    torch.manual_seed(0)
    return Learner(Reenactor(TINY), build_discriminator(TINY, 2), settings)


def run_steps(people, learner, folder, steps, settings=SETTINGS, **more):
    def draw(step):
        return sample(PeopleInMemory(people), seed=1, step=step, batch_size=settings.batch_size, identity_frames=1, part=share.numbers)

    names = ["red", "blue"]
    share = own_share(settings.batch_size, settings.accumulate)
    train(learner, draw, RunFolder(folder), share=share, names=names, steps=steps, device=torch.device("cpu"), **more)
    return learner


def weights(learner):
    return [*learner.average.state_dict().values(), *learner.discriminator.state_dict().values()]


def test_resumed_run_equals_uninterrupted_run_bit_for_bit(people, tmp_path, capsys):
    whole = run_steps(people, new_learner(), tmp_path / "whole", 10)
    run_steps(people, new_learner(), tmp_path / "halves", 5)
    resumed = run_steps(people, new_learner(), tmp_path / "halves", 10)
    assert "resuming from step 5 of 10" in capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert [row["step"] for row in RunFolder(tmp_path / "halves").stats()] == list(range(1, 11))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_the_step_and_the_run_goes_on_from_it(people, tmp_path, number, capsys):
    def told_to_stop(step, average):
        os.kill(os.getpid(), number)

    with pytest.raises(InterruptedRun, match=f"{number.name}: saved step 3 of 6; the same command goes on"):
        run_steps(people, new_learner(), tmp_path, 6, keep=[3], on_keep=told_to_stop)
    assert signal.getsignal(number) is signal.SIG_DFL
    resumed = run_steps(people, new_learner(), tmp_path, 6)
    assert "resuming from step 3 of 6" in capsys.readouterr().out
    whole = run_steps(people, new_learner(), tmp_path / "whole", 6)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_damaged_checkpoint_falls_back_to_the_one_before(people, tmp_path, capsys):
    run_steps(people, new_learner(), tmp_path / "run", 10)
    last = tmp_path / "run" / "checkpoint_00000010.pt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    run_steps(people, new_learner(), tmp_path / "run", 10)
    assert "resuming from step 5 of 10" in capsys.readouterr().out


def test_only_the_last_checkpoints_are_kept(people, tmp_path):
    run_steps(people, new_learner(), tmp_path, 20)
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == ["checkpoint_00000010.pt", "checkpoint_00000015.pt", "checkpoint_00000020.pt"]


def test_models_are_kept_at_the_steps_asked_for(people, tmp_path):
    seen = []
    run_steps(people, new_learner(), tmp_path, 6, keep=[2, 6], on_keep=lambda step, average: seen.append(step))
    assert seen == [2, 6]


def test_a_loss_that_is_not_finite_stops_and_is_named(people, tmp_path):
    settings = SETTINGS.model_copy(update={"losses": LossWeights(pixel=float("inf"))})
    with pytest.raises(UserError, match="step 1: loss pixel is not finite, on clips blue, red"):
        run_steps(people, new_learner(settings), tmp_path, 3, settings)


def test_it_learns_identity_and_pose(people, tmp_path):
    """Within 200 steps the discs have the right colour and follow the driver; without the pose they could not."""
    settings = MetaSettings(
        learning_rate=2e-3, beta1=0.5, ema=0.9, checkpoint_every=1000, batch_size=16,
        augment=AugmentSettings(pose=0, joint=0),
        losses=LossWeights(pixel=10, adversarial=0, feature_matching=0, perceptual=0, embedding_match=0),
    )  # fmt: skip
    learner = new_learner(settings)
    scale_descriptors(learner.reenactor, sample(PeopleInMemory(people), seed=1, step=0, batch_size=24, identity_frames=1))
    run_steps(people, learner, tmp_path, 200, settings)
    batch = sample(PeopleInMemory(people), seed=9, step=0, batch_size=24, identity_frames=1)
    net = learner.average
    with torch.no_grad():
        identity, pose = net.identity(batch.identity_frames), net.pose_encoder(batch.driver)
        error = (net.generator(identity, pose)[0] - batch.target).square().mean()
        posed = net.generator(identity, pose.mean(0, keepdim=True).expand_as(pose))[0]
        without_pose = (posed - batch.target).square().mean()
    assert -10 * error.log10() > 20, "PSNR on the training clips, dB"
    assert without_pose > 3 * error


def test_radam_is_the_authors(people):
    """Their file is the original RAdam; torch's is the same mathematics: five steps of plain descent, then rectified."""
    settings = SETTINGS.model_copy(update={"optimizer": "radam"})
    optimizer = new_learner(settings).optimizers[0]
    assert isinstance(optimizer, torch.optim.RAdam)
    torch.manual_seed(0)
    start, rate, beta1, beta2 = torch.randn(20, dtype=torch.float64), 2e-3, 0.5, 0.999
    ours, theirs = start.clone().requires_grad_(), start.clone()
    optimizer = torch.optim.RAdam([ours], lr=rate, betas=(beta1, beta2), eps=1e-5)
    mean, square, longest = torch.zeros_like(start), torch.zeros_like(start), 2 / (1 - beta2) - 1
    for step in range(1, 13):
        gradient = torch.randn(20, dtype=torch.float64)
        mean, square = beta1 * mean + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient**2
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        scale = rate / (1 - beta1**step)
        assert (length >= 5) == (step > 5)
        if length >= 5:
            rectified = (1 - beta2**step) * (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
            theirs = theirs - scale * rectified**0.5 * mean / (square.sqrt() + 1e-5)
        else:
            theirs = theirs - scale * mean
        ours.grad = gradient
        optimizer.step()
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-12, atol=1e-12)


def test_pose_response():
    targets = torch.rand(4, 3, 8, 8)
    assert pose_response(targets, targets) == pytest.approx(1)
    assert pose_response(targets[:1].expand(4, -1, -1, -1), targets) == pytest.approx(0, abs=1e-6)


def test_fingerprint_sees_settings_and_contents_but_not_dates(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    first = fingerprint({"x": 1}, [file])
    file.touch()
    assert fingerprint({"x": 1}, [file]) == first
    assert fingerprint({"x": 2}, [file]) != first
    file.write_text("two")
    assert fingerprint({"x": 1}, [file]) != first
