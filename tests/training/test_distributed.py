"""Several processes share a training: the result is that of one, up to rounding."""

import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from narrow import NARROW
from people import write_person
from torch import multiprocessing, nn

from reenact.data.augment import Augmentation
from reenact.data.rank_batch import RankBatch, divide_batch
from reenact.data.samples import Sampler
from reenact.data.training_clips import PeopleInMemory, load_training_clip
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.monitoring.train_logger import TrainLogger
from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaLossWeights, MetaSettings
from reenact.settings.training import AugmentSettings
from reenact.training import distributed
from reenact.training.adversarial import AdversarialObjective
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner
from reenact.training.loop import train
from reenact.training.resume import resume
from reenact.training.sync_layers import SyncBatchNorm, SyncDropout

WITH_DROPOUT = replace(NARROW, pose_dropout=0.2)
SETTINGS = MetaSettings(
    learning_rate=1e-5,
    discriminator_learning_rate=1e-5,
    beta1=0.5,
    ema=0.9,
    perceptual_width=0.1,
    checkpoint_every=2,
    losses=MetaLossWeights(pixel=10, eyes_mouth=3),
    augment=AugmentSettings(colour=0.5),
    identity_frames=2,
    batch_size=8,
    mirror=0.5,
)


def train_here(folder, run, steps, micro_batches=1):
    """Train in double precision, so that a difference that is not rounding can be told."""
    torch.set_default_dtype(torch.float64)
    clips = [
        load_training_clip(folder / name / "crops.zip", folder / name / "mattes.zip", 32) for name in ("red", "blue")
    ]
    landmarks = np.random.default_rng(0).uniform(0.3, 0.7, (12, 68, 2)).astype(np.float32)
    people = PeopleInMemory([replace(clip, landmarks=landmarks) for clip in clips])
    torch.manual_seed(0)
    learner = Learner(Reenactor(WITH_DROPOUT), build_discriminator(WITH_DROPOUT, 2), SETTINGS)
    rank_batch = divide_batch(SETTINGS.batch_size, micro_batches, distributed.rank(), distributed.world_size())
    sampler = Sampler(people, SETTINGS, rank_batch, SETTINGS.identity_frames)

    def batches(step):
        batch = sampler(step)
        return replace(batch.to(torch.float64), label=batch.label)

    run, device = RunFolder(run), torch.device("cpu")
    resume(learner, run, steps)
    with TrainLogger(run, learner.step + 1, steps, "test", device) as logger:
        objective = AdversarialObjective(SETTINGS)
        train(learner, batches, run, steps, objective=objective, device=device, monitor=logger)


def worker(rank, port, folder, run, steps, micro_batches):
    """One of two processes, as torchrun starts them."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    with distributed.init_distributed("cpu") as device:
        assert device.type == "cpu" and distributed.world_size() == 2 and distributed.rank() == rank
        train_here(folder, run, steps, micro_batches)


def train_in_two(folder, run, steps, micro_batches=1):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(worker, (port, folder, run, steps, micro_batches), nprocs=2)


@pytest.fixture(autouse=True)
def single_precision_afterwards():
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    for name in ("red", "blue"):
        write_person(folder, name, 12)
    return folder


def rows(run):
    kept = ("step", "gradient_norm", "discriminator_gradient_norm", "discriminator", *MetaLossWeights.model_fields)
    return [{name: value for name, value in row.items() if name in kept} for row in RunFolder(run).stats()]


def weights(run):
    networks = RunFolder(run).latest()[1]["networks"]
    return {f"{number}.{name}": tensor for number, network in enumerate(networks) for name, tensor in network.items()}


def assert_equal_up_to_rounding(ours, theirs, rel):
    named = {
        "perceptual",
        "pixel",
        "eyes_mouth",
        "dice",
        "adversarial",
        "feature_matching",
        "embedding_match",
        "discriminator",
    }
    assert len(rows(ours)) == len(rows(theirs)) and named < set(rows(ours)[0])
    for a, b in zip(rows(ours), rows(theirs), strict=True):
        assert a == pytest.approx(b, rel=rel), f"step {a['step']}"
    expected = weights(theirs)
    for name, tensor in weights(ours).items():
        torch.testing.assert_close(
            tensor, expected[name], rtol=rel, atol=rel, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_two_processes_equal_one_also_in_micro_batches(room, tmp_path):
    """Batch norms over the four samples of a piece let rounding grow: 7e-11, 4e-9, 2e-7 of the gradients' length."""
    train_here(room, tmp_path / "one", 3, micro_batches=2)
    train_in_two(room, tmp_path / "two", 3, micro_batches=2)
    assert_equal_up_to_rounding(tmp_path / "one", tmp_path / "two", 1e-5)


def test_a_run_goes_on_in_another_number_of_processes(room, tmp_path):
    """Losses and gradients agree to 1e-11 in all four steps."""
    train_here(room, tmp_path / "one", 4)
    train_in_two(room, tmp_path / "both", 2)
    train_here(room, tmp_path / "both", 4)
    assert_equal_up_to_rounding(tmp_path / "one", tmp_path / "both", 1e-9)


def test_augmentation_belongs_to_samples(room):
    people = PeopleInMemory([load_training_clip(room / "red" / "crops.zip", room / "red" / "mattes.zip", 32)])
    settings = SETTINGS.model_copy(update={"batch_size": 4})
    batch = Sampler(people, settings, divide_batch(4, 2), identity_frames=1)(1)
    augment = Augmentation(AugmentSettings(colour=0.5))
    torch.manual_seed(3)
    whole = augment(batch)
    torch.manual_seed(3)
    last = batch.micro_batches()[1]
    half = augment(replace(last, rank_batch=RankBatch([2, 3], 4)))
    for name in ("driver", "target", "matte", "identity_frames", "emphasis"):
        torch.testing.assert_close(getattr(half, name), getattr(whole, name)[2:], rtol=0, atol=1e-6)
    assert not torch.equal(half.driver, last.driver)


def test_ranks_get_equal_parts_or_are_refused():
    assert divide_batch(8, 2, rank=1, world_size=2).indices == [2, 3, 6, 7]
    with pytest.raises(
        UserError,
        match=r"meta\.batch_size: 6 samples cannot be divided among 2 processes with 2 micro-batches each; "
        "a multiple of 4 can",
    ):
        divide_batch(6, 2, rank=1, world_size=2)


def test_alone_shared_layers_are_torchs():
    torch.manual_seed(0)
    ours, theirs = SyncBatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5) * 3 + 1
    torch.testing.assert_close(ours(x), theirs(x))
    dropped = SyncDropout(0.25)(torch.ones(1000, 10))
    assert dropped.mean().item() == pytest.approx(1, abs=0.03) and set(dropped.unique().tolist()) <= {
        0.0,
        1 / 0.75,
        float(torch.tensor(1) / 0.75),
    }
    assert torch.equal(SyncDropout(0.25).eval()(x), x)


def test_a_machine_without_gpus_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(UserError, match=r"device: 'cuda:1'; with several processes allowed: auto, cpu, cuda"),
        distributed.init_distributed("cuda:1"),
    ):
        pass
