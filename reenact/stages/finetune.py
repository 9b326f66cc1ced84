"""Stage `finetune`: one person's avatar at every iteration of a sweep (section 3 of the paper, *Fine-tuning*).

Too few iterations leave an identity gap, too many kill the expression. Which iteration is best is found out afterwards,
by stages drive, score and select.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size

from reenact.data.images import resize_area, resize_to
from reenact.data.rank_batch import StepBatch, divide_batch
from reenact.data.samples import Sampler
from reenact.data.training_clips import PeopleInMemory, TrainingClip, load_training_clip
from reenact.models.family import Model
from reenact.models.model_file import constant, load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator, embed_person
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.monitoring.previews import drive_people, spread_frames, write_grid
from reenact.monitoring.train_logger import TrainLogger
from reenact.monitoring.validation import Validation
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_folder
from reenact.settings.finetune import FinetuneSettings
from reenact.training.adversarial import AdversarialObjective
from reenact.training.checkpoint import RunFolder, Runs
from reenact.training.learner import Learner
from reenact.training.loop import train
from reenact.training.objective import Objective
from reenact.training.resume import resume
from reenact.training.warping.lessons import warping_lessons
from reenact.training.warping.relief import with_relief

SHEET_FRAMES = 6
"""Of the person's own, on TensorBoard: where the identity gap becomes small."""

GUIDE = (125, 230, 30)
"""The published guide: iterations for one photo, and for more than so many frames."""

SWEEP_FRACTIONS = (0.25, 0.5, 1.0, 1.5)
"""Where the sweep looks, as fractions of the guide."""


def guided_sweep(frames: int) -> list[int]:
    """A quarter, half, the whole, and one and a half times the published guide for so many training frames.

    The guide: 125 iterations for one photo, growing to 230 for more than 30 frames.
    """
    fewest, most, enough = GUIDE
    guide = fewest + (most - fewest) * min(frames - 1, enough) / enough
    return [round(guide * fraction) for fraction in SWEEP_FRACTIONS]


def finetune(
    *,
    crops: Path,
    mattes: Path,
    meta: Path,
    sweep: Path,
    runs: Runs,
    device: str,
    threads: int = 0,
    settings: FinetuneSettings,
) -> None:
    """Write `sweep`/<iteration>.safetensors for iteration 0 (no fine-tuning) and every one of the sweep.

    Also curves.csv (one row of statistics a step) and preview.png (a row an iteration).

    Args:
        crops, mattes: clip files of the person.
        meta: the meta-model.
        sweep: folder to write.
        runs: where run folders are made.
        device, threads: see `pick_device`.
        settings: of the stage.

    Raises:
        UserError: `meta` is not a meta-model, there is no frame to train on, or the run folder is in use.
    """
    picked = pick_device(device, threads)
    model = load_model(meta).reenactor
    if isinstance(model, WarpingReenactor):
        clip, guide = load_training_clip(crops, mattes, None), []
        begin = partial(personal_learner, model, clip, meta, settings)
    else:
        clip = load_training_clip(crops, mattes, model.architecture.image_size)
        guide, begin = guided_sweep(len(clip.frames)), partial(personalise, clip, meta, settings)
    iterations = guide if settings.sweep is None else settings.sweep
    # The sweep says where to look, not how to train: a longer one goes on from the old run.
    key = settings.model_dump(mode="json", exclude={"sweep", "choose", *settings.without_effect})
    path = runs.path(clip.name, key, [crops, mattes, meta, *map(Path, settings.weight_files().values())])

    def attempt(batch_size: int) -> None:
        """Train with this batch size; accelerate tries a smaller one when memory runs out."""
        print(f"finetune {clip.name}: {len(clip.frames)} frames, batch {batch_size}, sweep {iterations}", flush=True)
        run = RunFolder(path.with_name(f"{path.name}-batch{batch_size}"))
        with run.lock():
            _train(clip, begin, run, iterations, batch_size, picked, settings)
            _publish(run, clip, [0, *iterations], sweep)

    find_executable_batch_size(attempt, min(settings.max_batch, len(clip.frames)))()


def _train(
    clip: TrainingClip,
    begin: Callable[[], Learner],
    run: RunFolder,
    iterations: list[int],
    batch_size: int,
    device: torch.device,
    settings: FinetuneSettings,
) -> None:
    """Put the models of iteration 0 and of the sweep into the run folder; those that are there are not made again."""
    metadata = _metadata(clip, settings)
    missing = [iteration for iteration in iterations if not _model(run, iteration).exists()]
    if not missing and _model(run, 0).exists():
        return
    learner = begin()
    _save(run, 0, metadata, learner.average)
    if not missing:
        return
    learner.to(device)
    resume(learner, run, missing[0] - 1)
    batches, objective = _lessons(learner, clip, run, batch_size, settings)
    title = f"finetune {clip.name}"
    size = learner.reenactor.architecture.image_size
    frames, mattes = (resize_area(np.asarray(pictures), size) for pictures in (clip.frames, clip.mattes))
    validation = Validation([replace(clip, frames=frames, mattes=mattes)], SHEET_FRAMES, device)
    with TrainLogger(run, learner.step + 1, missing[-1], title, device, validation) as logger:
        train(
            learner,
            batches,
            run,
            missing[-1],
            objective=objective,
            device=device,
            monitor=logger,
            on_step={iteration: partial(_save, run, iteration, metadata) for iteration in missing},
        )


def _lessons(
    learner: Learner, clip: TrainingClip, run: RunFolder, batch_size: int, settings: FinetuneSettings
) -> tuple[Callable[[int], StepBatch], Objective]:
    """Samples of any step, and what is learned by from them."""
    model = learner.reenactor
    if not isinstance(model, WarpingReenactor):
        return sampler(clip, settings, batch_size), AdversarialObjective(settings)
    return warping_lessons(model, PeopleInMemory([clip]), run.path, settings, divide_batch(batch_size))


def personal_learner(model: WarpingReenactor, clip: TrainingClip, meta: Path, settings: FinetuneSettings) -> Learner:
    """The start of fine-tuning in the warping family: an avatar of the best frames, of which the refiner learns.

    Raises:
        UserError: `meta`, whose model this is, is an avatar.
    """
    if model.personal:
        raise _refused(meta)
    avatar = model.eval().personalised(clip.frames, clip.mattes, settings.references, settings.image_size)
    if settings.relief:
        avatar = with_relief(avatar, np.asarray(clip.frames), np.asarray(clip.mattes))
    avatar.requires_grad_(False)
    avatar.refiner.train().requires_grad_(True)
    return Learner(avatar, None, settings)


def personalise(clip: TrainingClip, meta: Path, settings: FinetuneSettings) -> Learner:
    """The start of fine-tuning: the meta-model's averaged weights, the person's mean embedding also as label.

    The encoders are frozen and in evaluation mode: the published code leaves the pose encoder's batch norms
    drifting, so that drivers are seen through other statistics than those the generator was trained with
    (`settings.pose_encoder`).

    Raises:
        UserError: `meta` has no discriminator, as avatars have none.
    """
    loaded, _, discriminator_weights = load_model(meta)
    base = constant(loaded, meta, "this way of training")
    if not discriminator_weights:
        raise _refused(meta)
    identity = embed_person(base.eval(), clip.frames)
    net = Reenactor(base.architecture, personal=True)
    net.load_state_dict(base.state_dict() | {"identity_embedding": identity})
    net.eval().requires_grad_(False)
    net.generator.train().requires_grad_(True)
    net.pose_encoder.train(settings.pose_encoder == "published")
    for embedding in net.parameters(recurse=False):  # the person's, which no part of the network has
        embedding.requires_grad_(True)
    discriminator = build_discriminator(base.architecture, labels=1)
    own = discriminator.state_dict()
    fitting = {key: value for key, value in discriminator_weights.items() if value.shape == own[key].shape}
    discriminator.load_state_dict(own | fitting)
    discriminator.labels.weight = identity
    return Learner(net, discriminator, settings)


def _refused(meta: Path) -> UserError:
    return UserError(f"{meta}: an avatar cannot be fine-tuned; give a meta-model")


def sampler(clip: TrainingClip, settings: FinetuneSettings, batch_size: int) -> Sampler:
    """What fine-tuning on one person learns from.

    A single photo is not mirrored: in batches of one it would now and then be another person's step.
    """
    if len(clip.frames) == 1:
        settings = settings.model_copy(update={"mirror": 0.0})
    return Sampler(PeopleInMemory([clip]), settings, batch_size)


def _metadata(clip: TrainingClip, settings: FinetuneSettings) -> dict[str, Any]:
    """Where an avatar comes from, for its file."""
    about = {"stage": "finetune", "identity": clip.name, "frames": len(clip.frames)}
    return about | {"settings": settings.model_dump(mode="json")}


def _model(run: RunFolder, iteration: int) -> Path:
    return run.path / f"model_{iteration:06d}.safetensors"


def _save(run: RunFolder, iteration: int, metadata: dict[str, Any], average: Model) -> None:
    save_model(_model(run, iteration), average, {**metadata, "iteration": iteration})


def _publish(run: RunFolder, clip: TrainingClip, iterations: list[int], sweep: Path) -> None:
    """Copy the models of the sweep out of the run folder and show them; the folder appears as a whole."""
    drivers, rows = spread_frames(clip, 8), []
    with atomic_folder(sweep) as folder:
        for iteration in iterations:
            shutil.copyfile(_model(run, iteration), folder / f"{iteration:06d}.safetensors")
            net = load_model(_model(run, iteration)).reenactor.eval()
            rows.append(drive_people(net, [clip], drivers, torch.device("cpu"))[0])
        shown = np.stack([resize_to(frame, rows[0].shape[1]) for frame in drivers])
        write_grid(folder / "preview.png", [shown, *rows])
        stats = [row for row in run.stats() if row["step"] <= iterations[-1]]
        pd.DataFrame(stats, columns=None if stats else ["step"]).to_csv(folder / "curves.csv", index=False)
