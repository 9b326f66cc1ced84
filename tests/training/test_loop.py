"""The training loop: it learns, it resumes exactly, it stops on nonsense."""

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from narrow import NARROW
from people import write_person

from reenact.data.prefetch import Prefetch
from reenact.data.rank_batch import divide_batch
from reenact.data.samples import Sampler
from reenact.data.training_clips import PeopleInMemory, load_training_clip
from reenact.models import precision
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.monitoring.train_logger import TrainLogger
from reenact.runtime.errors import InterruptedRun, UserError
from reenact.runtime.interruption import SIGNALS
from reenact.runtime.utilization import OperationCount, Utilization, measure_ceiling
from reenact.settings.meta import MetaLossWeights, MetaSettings
from reenact.settings.training import AugmentSettings
from reenact.training.adversarial import AdversarialObjective
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner
from reenact.training.loop import VALIDATION_ERROR, train
from reenact.training.pose_warmup import scale_descriptors
from reenact.training.resume import resume

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SETTINGS = MetaSettings(
    learning_rate=2e-3,
    discriminator_learning_rate=2e-3,
    ema=0.9,
    perceptual_width=0.1,
    checkpoint_every=5,
    losses=MetaLossWeights(pixel=10),
    identity_frames=1,
    batch_size=4,
)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return [load_training_clip(*write_person(folder, name, 12), 32) for name in ("red", "blue")]


def new_learner(settings=SETTINGS):
    torch.manual_seed(0)
    return Learner(Reenactor(NARROW), build_discriminator(NARROW, 2), settings)


class Watching(TrainLogger):
    """Logs, and measures what the test says."""

    found: Callable[[], dict[str, float]] = dict

    def measure(self, step, learner, validate):
        return self.found() if validate else {}


def run_steps(
    people, learner, folder, steps, settings=SETTINGS, change=lambda step, batch: batch, found=dict, loaders=0, **more
):
    """Train from the folder's last checkpoint; `change` changes a step's batch, `found` is what validation finds."""
    run = RunFolder(folder)
    sampler = Sampler(PeopleInMemory(people), settings, divide_batch(settings.batch_size, settings.accumulate), 1)
    resume(learner, run, steps)
    with (
        Prefetch(lambda step: change(step, sampler(step)), threads=loaders, last=steps) as batches,
        Watching(run, learner.step + 1, steps, "test", DEVICE) as logger,
    ):
        logger.found = found
        objective = AdversarialObjective(learner.settings)
        train(learner, batches, run, steps, objective=objective, device=DEVICE, monitor=logger, **more)
    return learner


def weights(learner):
    return [*learner.average.state_dict().values(), *learner.discriminator.state_dict().values()]


@pytest.mark.parametrize(("asked", "allowed"), [("fp32", False), ("tf32", True)])
def test_float32_is_float32_unless_tf32_is_asked_for(people, asked, allowed):
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = not allowed, not allowed
    new_learner(SETTINGS.model_copy(update={"precision": asked})).prepare(DEVICE)
    assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allowed


def test_resumed_run_equals_uninterrupted_run_bit_for_bit(people, tmp_path, capsys):
    whole = run_steps(people, new_learner(), tmp_path / "whole", 10)
    run_steps(people, new_learner(), tmp_path / "halves", 5)
    resumed = run_steps(people, new_learner(), tmp_path / "halves", 10, loaders=2)
    assert "resuming from step 5" in capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert [row["step"] for row in RunFolder(tmp_path / "halves").stats()] == list(range(1, 11))


def test_each_row_has_the_share_of_the_ceiling_and_counting_changes_no_weight(people, tmp_path, monkeypatch, capsys):
    counted = run_steps(people, new_learner(), tmp_path / "counted", 4)
    ceiling = measure_ceiling(DEVICE, counted.precision)
    assert f"MFU is the share of {ceiling / 1e9:.0f} GFLOP/s" in capsys.readouterr().out

    learner, rows = new_learner(), RunFolder(tmp_path / "counted").stats()
    learner.prepare(DEVICE)
    sampler = Sampler(PeopleInMemory(people), SETTINGS, SETTINGS.batch_size, 1)
    objective = AdversarialObjective(SETTINGS).to(DEVICE)
    with OperationCount() as count:
        objective(learner, sampler(1).to(DEVICE))
    assert [row["mfu"] * row["seconds"] * ceiling for row in rows] == pytest.approx([count.total] * 4)

    monkeypatch.setattr(Utilization, "counting", lambda utilization, kind: nullcontext())
    plain = run_steps(people, new_learner(), tmp_path / "plain", 4)
    assert all(torch.equal(a, b) for a, b in zip(weights(counted), weights(plain), strict=True))
    assert "mfu" not in RunFolder(tmp_path / "plain").stats()[0]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_the_step_and_the_run_goes_on_from_it(people, tmp_path, number, capsys):
    def ask_to_stop(average):
        os.kill(os.getpid(), number)

    with pytest.raises(InterruptedRun, match=f"{number.name}: saved step 3 of 6; the same command goes on"):
        run_steps(people, new_learner(), tmp_path, 6, on_step={3: ask_to_stop})
    assert signal.getsignal(number) is signal.SIG_DFL
    resumed = run_steps(people, new_learner(), tmp_path, 6)
    assert "resuming from step 3" in capsys.readouterr().out
    whole = run_steps(people, new_learner(), tmp_path / "whole", 6)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_damaged_checkpoint_falls_back_to_the_one_before(people, tmp_path, capsys):
    run_steps(people, new_learner(), tmp_path / "run", 10)
    last = tmp_path / "run" / "checkpoint_00000010.pt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    run_steps(people, new_learner(), tmp_path / "run", 10)
    assert "resuming from step 5" in capsys.readouterr().out


def test_only_the_last_checkpoints_are_kept(people, tmp_path):
    run_steps(people, new_learner(), tmp_path, 20)
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == [
        "checkpoint_00000010.pt",
        "checkpoint_00000015.pt",
        "checkpoint_00000020.pt",
    ]


def checkpoints(folder):
    return sorted(int(path.stem.split("_")[1]) for path in folder.glob("checkpoint_*.pt"))


def test_the_best_checkpoint_by_validation_is_kept_too(people, tmp_path):
    settings = SETTINGS.model_copy(update={"checkpoint_every": 1, "validate_every": 2})
    errors = iter([{VALIDATION_ERROR: 3.0}, {VALIDATION_ERROR: 1.0}, {}, {VALIDATION_ERROR: 2.0}])
    run_steps(people, new_learner(settings), tmp_path, 8, settings, found=lambda: next(errors))
    assert checkpoints(tmp_path) == [4, 6, 7, 8] and RunFolder(tmp_path).best() == {"step": 4, "value": 1.0}


def test_models_are_kept_at_the_steps_asked_for(people, tmp_path):
    seen = []
    run_steps(
        people, new_learner(), tmp_path, 6, on_step={step: lambda _, step=step: seen.append(step) for step in (2, 6)}
    )
    assert seen == [2, 6]


def test_training_ends_after_so_many_hours_in_all_runs_together(people, tmp_path):
    learner = run_steps(people, new_learner(), tmp_path, 100, max_hours=1e-6)
    assert learner.step == 1
    longer = new_learner()
    longer.load_state_dict(learner.state_dict() | {"seconds": 7200.0})
    assert run_steps(people, longer, tmp_path / "other", 100, max_hours=1.9).step == 2


def test_a_loss_that_is_not_finite_stops_and_is_named(people, tmp_path):
    def spoil(step, batch):
        if step == 7:
            batch.driver[0] = torch.nan
        return batch

    learner = new_learner()
    with pytest.raises(
        UserError,
        match=r"step 7: loss perceptual, pixel, dice, .* is not finite, on clips blue, red; lower the learning rate",
    ):
        run_steps(people, learner, tmp_path, 9, change=spoil)
    assert all(p.isfinite().all() for p in learner.reenactor.parameters()), "nothing was learned from it"
    assert checkpoints(tmp_path) == [5] and RunFolder(tmp_path).stats()[-1]["step"] == 6


def test_a_gradient_that_is_not_finite_stops_too(people, tmp_path):
    def spoil(average):
        learner.reenactor.generator.constant.register_hook(lambda gradient: gradient * torch.inf)

    learner = new_learner()
    with pytest.raises(UserError, match=r"step 3: gradient_norm is not finite"):
        run_steps(people, learner, tmp_path, 9, on_step={2: spoil})


@pytest.fixture
def small_files():
    """Files of more than 100 kB cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_the_last_checkpoint(people, tmp_path, small_files):
    settings = SETTINGS.model_copy(update={"checkpoint_every": 2})
    run_steps(people, new_learner(settings), tmp_path, 2, settings)
    small_files()
    with pytest.raises(UserError, match=r"checkpoint_00000004\.pt: cannot be written \(File too large\)"):
        run_steps(people, new_learner(settings), tmp_path, 6, settings)
    assert checkpoints(tmp_path) == [2] and not list(tmp_path.glob(".*"))
    assert RunFolder(tmp_path).latest()[0] == 2


def test_a_full_disk_leaves_the_last_checkpoint(people, tmp_path):
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount")
    try:
        state = {"weights": torch.zeros(450_000)}
        run = RunFolder(tmp_path)
        run.save(1, state)
        with pytest.raises(UserError, match=r"checkpoint_00000002\.pt: cannot be written \(No space left on device\)"):
            run.save(2, state)
        assert checkpoints(tmp_path) == [1] and torch.equal(run.latest()[1]["weights"], state["weights"])
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_a_dying_writer_left_is_removed(people, tmp_path, monkeypatch):
    run_steps(people, new_learner(), tmp_path, 5)
    (tmp_path / ".checkpoint_00000010.77.pt").write_bytes(b"half of a checkpoint")
    run_steps(people, new_learner(), tmp_path, 6)
    assert checkpoints(tmp_path) == [5, 6] and not list(tmp_path.glob(".checkpoint*"))


def test_statistics_on_a_full_disk_are_named(people, tmp_path, monkeypatch):
    def full(run, row):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RunFolder, "add_stats", full)
    with pytest.raises(UserError, match=r"statistics cannot be written \(No space left"):
        run_steps(people, new_learner(), tmp_path, 2)


def test_settings_may_change_between_runs_of_one_checkpoint(people, tmp_path):
    run_steps(people, new_learner(), tmp_path, 1)
    slower = SETTINGS.model_copy(update={"learning_rate": 1e-9, "discriminator_learning_rate": 1e-9})
    before = RunFolder(tmp_path).latest()[1]["networks"][0]
    learner = run_steps(people, new_learner(slower), tmp_path, 2, slower)
    assert learner.step == 2 and RunFolder(tmp_path).stats()[-1]["learning_rate"] == 1e-9
    for name, parameter in learner.reenactor.named_parameters():
        torch.testing.assert_close(parameter, before[name], rtol=0, atol=1e-7)


def test_what_does_not_learn_is_in_memory_once_and_what_learns_twice():
    learner = new_learner()
    learner.reenactor.pose_encoder.requires_grad_(False)
    with torch.no_grad():
        first, *_ = learner.average.pose_encoder.parameters()
        first.add_(1)
    learner.prepare(torch.device("cpu"))
    pairs = zip(learner.reenactor.named_parameters(), learner.average.parameters(), strict=True)
    shared = {name for (name, own), mean in pairs if own.data_ptr() == mean.data_ptr()}
    frozen = [name for name, _ in learner.reenactor.named_parameters() if name.startswith("pose_encoder.")]
    assert shared == set(frozen[1:])  # the first of the average is another


def test_encoders_have_a_learning_rate_of_their_own(people, tmp_path):
    settings = SETTINGS.model_copy(update={"encoder_rate": 1e-9})
    before, after = (
        dict(run_steps(people, new_learner(settings), tmp_path / str(n), n, settings).reenactor.named_parameters())
        for n in (1, 3)
    )
    moved = {name: (after[name] - before[name]).abs().max().item() for name in before}
    assert max(value for name, value in moved.items() if "_encoder." in name) < 1e-9
    assert min(value for name, value in moved.items() if "conv1" in name and "_encoder." not in name) > 1e-4


def test_bfloat16_learns_the_same_weights_nearly(people, tmp_path):
    settings = SETTINGS.model_copy(update={"precision": "fp32", "channels_last": False})
    exact = run_steps(people, new_learner(settings), tmp_path / "a", 2, settings)
    settings = SETTINGS.model_copy(update={"precision": "bf16"})
    coarse = run_steps(people, new_learner(settings), tmp_path / "b", 2, settings)
    rows = [RunFolder(tmp_path / name).stats()[0] for name in "ab"]
    assert rows[1]["pixel"] == pytest.approx(rows[0]["pixel"], rel=0.02) and rows[1]["pixel"] != rows[0]["pixel"]
    assert (
        {p.dtype for p in coarse.reenactor.parameters()}
        == {p.dtype for p in exact.reenactor.parameters()}
        == {torch.float32}
    )


def test_a_run_goes_on_in_the_precision_that_it_began_in(people, tmp_path, monkeypatch, capsys):
    for here, steps in ((True, 5), (False, 10)):  # a machine with bfloat16, then one without
        monkeypatch.setattr(precision, "has_bfloat16", lambda device, here=here: here)
        assert run_steps(people, new_learner(), tmp_path / "moved", steps).precision == "bf16"
        assert "precision: bf16" in capsys.readouterr().out
    assert run_steps(people, new_learner(), tmp_path / "new", 5).precision == "fp32"


def test_pieces_are_one_batch_where_nothing_looks_at_several_samples(people, tmp_path):
    """The encoders' batch norms do, so they are off: then gradients of two pieces are those of the whole."""
    norms = []
    for pieces in (1, 2):
        settings = SETTINGS.model_copy(update={"losses": MetaLossWeights(pixel=10, dice=0), "accumulate": pieces})
        learner = new_learner(settings)
        learner.reenactor.identity_encoder.eval()
        learner.reenactor.pose_encoder.eval()
        learner.discriminator.eval()
        learner.reenactor.generator.eval()
        run_steps(people, learner, tmp_path / str(pieces), 1, settings)
        norms.append(RunFolder(tmp_path / str(pieces)).stats()[0])
    for name in ("gradient_norm", "discriminator_gradient_norm", "pixel", "adversarial", "feature_matching"):
        assert norms[0][name] == pytest.approx(norms[1][name], rel=1e-4), name


def test_it_learns_identity_and_pose(people, tmp_path):
    """Within 200 steps the discs have the right colour and follow the driver; without the pose they could not."""
    settings = MetaSettings(
        learning_rate=2e-3,
        beta1=0.5,
        ema=0.9,
        checkpoint_every=1000,
        batch_size=16,
        augment=AugmentSettings(pose=0, joint=0),
        losses=MetaLossWeights(pixel=10, adversarial=0, feature_matching=0, perceptual=0, embedding_match=0),
    )
    learner = new_learner(settings)
    samples = Sampler(PeopleInMemory(people), settings, 24, identity_frames=1)
    scale_descriptors(learner.reenactor, samples(0))
    run_steps(people, learner, tmp_path, 200, settings)
    batch, net = samples(1_000_000).to(DEVICE), learner.average
    with torch.no_grad():
        identity, pose = net.embed(batch.identity_frames).mean(1), net.pose_encoder(batch.driver)
        error = (net.generator(identity, pose)[0] - batch.target).square().mean()
        posed = net.generator(identity, pose.mean(0, keepdim=True).expand_as(pose))[0]
        without_pose = (posed - batch.target).square().mean()
    assert -10 * error.log10() > 20, "PSNR on the training clips, dB"
    assert without_pose > 3 * error


def test_radam_is_the_authors(people):
    """Their file is the original RAdam; torch's is the same: five steps of plain descent, then rectified."""
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
            rectified = (
                (1 - beta2**step) * (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
            )
            theirs = theirs - scale * rectified**0.5 * mean / (square.sqrt() + 1e-5)
        else:
            theirs = theirs - scale * mean
        ours.grad = gradient
        optimizer.step()
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-12, atol=1e-12)
