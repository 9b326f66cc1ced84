"""How meta-learning begins: resumed if it can be; else from scratch, from another run's weights, or in its place."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from reenact.data.samples import Sampler
from reenact.data.training_clips import People, TrainingClip
from reenact.models.architecture import PRESETS
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaSettings
from reenact.settings.training import TrainingSettings
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner
from reenact.training.pose_warmup import calibrate_batchnorm, pretrain_pose_encoder, scale_descriptors
from reenact.training.schedule import LRSchedule, constant, cosine_decay, rising

FIXED = ("model.preset", "meta.optimizer", "people")
"""Of a run's metadata: what cannot change when a run goes on."""

LABEL_ROWS = "labels.parametrizations.weight.original"


def new_learner(preset: str, people: int, settings: MetaSettings, device: torch.device) -> Learner:
    """Networks with random weights, which follow from the seed, and their optimizers.

    Args:
        preset: sizes of the networks.
        people: rows of the discriminator's label embedding.
        settings: of the stage.
        device: where they are put.
    """
    torch.manual_seed(settings.seed)
    architecture = PRESETS[preset]
    net, discriminator = Reenactor(architecture), build_discriminator(architecture, people)
    return Learner(net.to(device), discriminator.to(device), settings, schedule_of(settings))


def schedule_of(settings: MetaSettings) -> LRSchedule:
    """Learning rates that rise and fall as the settings say."""
    schedule = cosine_decay(settings.steps, settings.decay) if settings.decay else constant
    return rising(schedule, settings.rise) if settings.rise else schedule


def check_start(settings: MetaSettings) -> None:
    """Refuse settings of the start that exclude each other.

    Raises:
        UserError: names them.
    """
    if settings.start and settings.resume:
        raise UserError(
            "meta.resume and meta.start exclude each other: the one goes on with a run, "
            "the other begins a new one with its weights"
        )
    if settings.start_warmup and not settings.start:
        raise UserError(
            f"meta.start_warmup: {settings.start_warmup} needs meta.start; "
            "before a training from scratch it is meta.pose_warmup"
        )


def start_from_scratch(learner: Learner, people: People, clips: list[TrainingClip], settings: MetaSettings) -> None:
    """Make of random encoders ones that say something (`pose_warmup`).

    Args:
        learner: changed in place.
        people: that are trained on.
        clips: of them, that the encoders' start looks at.
        settings: of the stage.
    """
    net, device = learner.reenactor, next(learner.reenactor.parameters()).device
    if settings.frozen_norms or settings.pose_warmup:
        calibrate_batchnorm(net.identity_encoder, clips, settings.seed)
        calibrate_batchnorm(net.pose_encoder, clips, settings.seed)
    pretrain_pose_encoder(net.pose_encoder, clips, steps=settings.pose_warmup, seed=settings.seed)
    # Without calibration the batch norms see this batch as they see those of training, which are small.
    samples = Sampler(people, TrainingSettings(seed=settings.seed), 64 if settings.frozen_norms else 32, 1)
    scale_descriptors(net, samples(0).to(device))
    learner.average.load_state_dict(net.state_dict())


def start_from_run(learner: Learner, folder: Path, clips: list[TrainingClip], settings: MetaSettings) -> None:
    """Take over networks, averages and optimizers of another run's last checkpoint, from step 0.

    The discriminator's label rows belong to that run's people: with another number of people they begin anew.

    Args:
        learner: changed in place.
        folder: of the other run.
        clips: that the pose encoder learns from before, if `settings.start_warmup` says so.
        settings: of the stage.

    Raises:
        UserError: there is no checkpoint, or one of other networks.
    """
    step, state = _last(folder, "meta.start", learner)
    own, rows = learner.state_dict(), ""
    if learner.discriminator is not None:
        kept = state["networks"][1][LABEL_ROWS].shape == own["networks"][1][LABEL_ROWS].shape
        rows = f"; label rows {'kept' if kept else 'begin anew'}"
        if not kept:
            new = {key: value for key, value in own["networks"][1].items() if key.startswith("labels.")}
            state["networks"][1] |= new
            names = [name for name, _ in learner.discriminator.named_parameters()]
            state["optimizers"][1]["state"].pop(names.index(LABEL_ROWS), None)
    _load(learner, state | {"step": 0, "seconds": 0.0}, folder, "meta.start")
    if settings.start_warmup:
        encoder = learner.reenactor.pose_encoder
        pretrain_pose_encoder(encoder, clips, steps=settings.start_warmup, seed=settings.seed, again=True)
        learner.average.pose_encoder.load_state_dict(encoder.state_dict())
    if distributed.is_main():
        print(f"meta: starting from step {step} of {folder}{rows}", flush=True)


def take_over_run(learner: Learner, folder: Path, run: RunFolder, metadata: dict[str, Any]) -> None:
    """Take another run's place: all of its last checkpoint, its step included; learning rates and the like are ours.

    Args:
        learner: changed in place.
        folder: of the other run.
        run: this one, which gets the statistics so far.
        metadata: what `run` is of.

    Raises:
        UserError: there is no checkpoint, or what cannot change has changed; says what.
    """
    step, state = _last(folder, "meta.resume", learner)
    was = RunFolder(folder).metadata()
    changes = [
        f"{name}: was {_words(was[name])}, is {_words(metadata[name])}"
        for name in FIXED
        if name in was and was[name] != metadata[name]
    ]
    if learner.discriminator is not None and not changes:
        theirs, ours = (len(saved["networks"][1][LABEL_ROWS]) for saved in (state, learner.state_dict()))
        changes = [f"people: were {theirs}, are {ours}"] if theirs != ours else []
    if changes:
        raise UserError(
            f"meta.resume: {str(folder)!r} cannot go on with other {'; '.join(changes)}. "
            "meta.start takes over what fits"
        )
    _load(learner, state, folder, "meta.resume")
    if distributed.is_main():
        run.copy_stats(RunFolder(folder), step)
        print(f"meta: going on from step {step} of {folder}", flush=True)


def freeze_batchnorm(net: nn.Module) -> None:
    """Let the batch norms keep the statistics that they have; everything else, dropout too, stays in training mode."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def _words(value: Any) -> str:
    """A value as people say it; of many names the number and the first few."""
    if not isinstance(value, list):
        return repr(value)
    return f"{len(value)} ({', '.join(value[:5])}{', ...' if len(value) > 5 else ''})"


def _last(folder: Path, setting: str, learner: Learner) -> tuple[int, dict[str, Any]]:
    found = RunFolder(folder).latest() if folder.is_dir() else None
    if not found:
        raise UserError(
            f"{setting}: {str(folder)!r} holds no checkpoint; "
            "give a folder of results/runs/meta, or import_published's --checkpoint-out"
        )
    step, state = found
    against = learner.discriminator is not None
    known = state.keys() >= {"step", "networks", "optimizers"} and len(state["networks"]) == len(learner.networks)
    if not known or (against and LABEL_ROWS not in state["networks"][1]):
        raise UserError(
            f"{setting}: the checkpoint of step {step} in {str(folder)!r} is none of meta-learning, or of another "
            "version of reenact; begin anew, or give another folder"
        )
    return step, state


def _load(learner: Learner, state: dict[str, Any], folder: Path, setting: str) -> None:
    try:
        learner.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{setting}: {str(folder)!r} is of other networks than model.preset ({str(error).splitlines()[0]})"
        ) from None
