"""Stage `meta`: one model that can be anybody (section 3 of the paper), or that shows anybody's photos."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size

from reenact.data.prefetch import Prefetch
from reenact.data.rank_batch import RankBatch, StepBatch, divide_batch
from reenact.data.samples import Sampler
from reenact.data.shard_people import Shards
from reenact.data.training_clips import FEW, Clips, People, TrainingClip, few
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.monitoring.dry_run import dry_run, million_parameters
from reenact.monitoring.previews import write_preview
from reenact.monitoring.train_logger import TrainLogger
from reenact.monitoring.validation import Validation, ValidationSource
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, write_text
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.training import distributed
from reenact.training.adversarial import AdversarialObjective
from reenact.training.checkpoint import RunFolder, Runs
from reenact.training.learner import Learner
from reenact.training.loop import train
from reenact.training.objective import Objective
from reenact.training.resume import resume
from reenact.training.start import (
    check_start,
    freeze_batchnorm,
    new_learner,
    start_from_run,
    start_from_scratch,
    take_over_run,
)
from reenact.training.warping.lessons import warping_lessons
from reenact.training.warping.start import starting_model, warping_learner

PREVIEWED = 6
"""People in the preview."""


@dataclass(frozen=True)
class MetaOutputs:
    """Files that the stage writes: the model, a row of statistics a step, how good it is, and a picture."""

    model: Path
    curves: Path
    metrics: Path
    preview: Path


def make_meta_model(
    *,
    clips: Clips | Shards,
    validation: ValidationSource | None = None,
    outputs: MetaOutputs,
    runs: Runs,
    device: str,
    threads: int = 0,
    settings: MetaSettings,
    model: ModelSettings,
) -> None:
    """Meta-learn from clips.

    Args:
        clips: to learn from, in files of one clip each or in shards.
        validation: people that the model is tried on while it learns; None = pictures of the training's people only.
        outputs: what to write.
        runs: where run folders are made.
        device, threads: see `pick_device`.
        settings, model: of the stage and of the networks.

    Raises:
        UserError: there is nobody to learn from, settings exclude each other, or the run folder is in use.
    """
    weights = [*clips.files, *map(Path, [*settings.weight_files().values(), *settings.start_files()])]
    key = {**settings.model_dump(mode="json", exclude=_without_effect(settings)), "preset": model.preset}
    with (
        distributed.init_distributed(device, threads) as picked,
        _open_training(clips, validation or ValidationSource(), settings, model.preset, picked) as training,
    ):
        run = RunFolder(runs.path(settings.name, key, weights))
        with run.lock() if distributed.is_main() else nullcontext():
            learner = training.train(settings, run)
            if distributed.is_main():
                _publish(training, learner, settings, run, outputs)


def dry_run_meta(
    *,
    clips: Clips | Shards,
    validation: ValidationSource | None = None,
    device: str,
    threads: int = 0,
    settings: MetaSettings,
    model: ModelSettings,
) -> None:
    """Build everything, make a few steps, print what training will need, and write nothing; see `make_meta_model`."""
    with (
        distributed.init_distributed(device, threads) as picked,
        _open_training(clips, validation or ValidationSource(), settings, model.preset, picked) as training,
    ):
        dry_run(training.train, settings)


def _without_effect(settings: MetaSettings) -> set[str]:
    """What changes no result: more steps, or other numbers of processes, of the same run are not another run."""
    return settings.without_effect - ({"steps"} if settings.decay else set())


@contextmanager
def _open_training(
    clips: Clips | Shards, validation: ValidationSource, settings: MetaSettings, preset: str, device: torch.device
) -> Iterator["_Training"]:
    check_start(settings)
    size = (starting_model(settings).architecture if _is_warping(preset) else PRESETS[preset]).image_size
    people = clips.load(size)
    if not len(people):
        raise UserError("meta: there is no clip to learn from; give --crops and --mattes, or --shard-files")
    with validation.open(few(people), size, settings.validate_frames, device) as opened:
        yield _Training(people, preset, device, opened)


def _is_warping(preset: str) -> bool:
    """Whether `model.preset` is of the warping family."""
    return preset == WarpingReenactor.family


@dataclass(frozen=True)
class _Training:
    """What to train on, and where.

    Attributes:
        people: to learn from.
        preset: of the networks.
        device: where to train.
        validation: tries the model while it learns.
    """

    people: People
    preset: str
    device: torch.device
    validation: Validation

    @cached_property
    def clips(self) -> list[TrainingClip]:
        """A few of the people's clips."""
        return few(self.people)

    def metadata(self, settings: MetaSettings) -> dict[str, Any]:
        """Plain JSON about where the model comes from, for its file."""
        names = [clip.name for clip in self.clips] if len(self.clips) < FEW else f"{len(self.people)} people"
        return {"stage": "meta", "clips": names, "settings": settings.model_dump(mode="json")}

    def train(self, settings: MetaSettings, run: RunFolder) -> Learner:
        """Train to the end, from the run folder's last checkpoint; with smaller micro-batches where memory runs out."""
        size = len(self._rank_batch(settings, settings.accumulate).indices) // settings.accumulate
        sizes = [samples for samples in range(size, 0, -1) if size % samples == 0]

        def attempt(samples: int) -> Learner:
            """Train with micro-batches of so many samples."""
            return self._train(settings, run, settings.accumulate * size // samples)

        def fewer() -> int:
            """The next smaller size."""
            if len(sizes) == 1 or distributed.world_size() > 1:
                raise UserError(
                    f"out of memory with {sizes[0]} samples at a time; raise meta.accumulate, or set "
                    "meta.precision: bf16, fewer meta.identity_frames or a smaller model.preset"
                )
            print(f"meta: out of memory with {sizes.pop(0)} samples at a time; trying {sizes[0]}", flush=True)
            return sizes[0]

        return find_executable_batch_size(attempt, size, fewer)()

    def _train(self, settings: MetaSettings, run: RunFolder, micro_batches: int) -> Learner:
        """Train with each step in so many micro-batches."""
        learner = self._start(settings, run)
        sampler, objective = self._lessons(learner, settings, run, self._rank_batch(settings, micro_batches))
        first, title = learner.step + 1, f"meta {settings.name}"
        with (
            Prefetch(sampler, threads=settings.loaders, last=settings.steps) as batches,
            TrainLogger(run, first, settings.steps, title, self.device, self.validation) as logger,
        ):
            train(
                learner,
                batches,
                run,
                settings.steps,
                objective=objective,
                device=self.device,
                monitor=logger,
                max_hours=settings.max_hours or math.inf,
            )
        return learner

    def _lessons(
        self, learner: Learner, settings: MetaSettings, run: RunFolder, rank_batch: RankBatch
    ) -> tuple[Callable[[int], StepBatch], Objective]:
        """Samples of any step, and what is learned by from them."""
        model = learner.reenactor
        if not isinstance(model, WarpingReenactor):
            sampler = Sampler(self.people, settings, rank_batch, settings.identity_frames)
            return sampler, AdversarialObjective(settings)
        return warping_lessons(model, self.people, run.path, settings, rank_batch)

    def _start(self, settings: MetaSettings, run: RunFolder) -> Learner:
        """Networks and optimizers as they are before the next step of this run."""
        if _is_warping(self.preset):
            learner = warping_learner(settings, self.device)
        else:
            learner = new_learner(self.preset, len(self.people), settings, self.device)
        metadata = {
            "model.preset": self.preset,
            "architecture": learner.reenactor.architecture.to_json(),
            "meta.optimizer": settings.optimizer,
            "people": self.people.names,
            "settings": settings.model_dump(mode="json"),
        }
        if not resume(learner, run, settings.steps):
            if settings.resume:
                take_over_run(learner, Path(settings.resume), run, metadata)
            elif settings.start and not settings.start_files():
                start_from_run(learner, Path(settings.start), self.clips, settings)
            elif not _is_warping(self.preset):
                start_from_scratch(learner, self.people, self.clips, settings)
        if isinstance(learner.reenactor, Reenactor):
            for encoder in (learner.reenactor.identity_encoder, learner.reenactor.pose_encoder):
                encoder.train()
                if settings.frozen_norms:
                    freeze_batchnorm(encoder)
        if distributed.is_main():
            run.write_metadata(metadata)
        return learner

    def _rank_batch(self, settings: MetaSettings, micro_batches: int) -> RankBatch:
        """What this rank does of each step."""
        return divide_batch(settings.batch_size, micro_batches, distributed.rank(), distributed.world_size())


def _publish(
    training: _Training, learner: Learner, settings: MetaSettings, run: RunFolder, outputs: MetaOutputs
) -> None:
    """Write model, curves, metrics and preview."""
    stats = run.stats()
    with atomic_write(outputs.curves) as temporary:
        pd.DataFrame(stats).to_csv(temporary, index=False)
    measured = ("validation_", "raw_validation_", "pose_response")
    metrics = {
        "steps": learner.step,
        "hours": round(learner.seconds / 3600, 4),
        "million_parameters": {name: round(count, 3) for name, count in million_parameters(learner).items()},
        "samples_per_second": float(np.median([row["samples_per_second"] for row in stats])),
        "peak_memory_mb": max(row["peak_memory_mb"] for row in stats),
        "last": {name: value for name, value in stats[-1].items() if name.startswith(measured)},
        "best": run.best(),
    }
    write_text(outputs.metrics, json.dumps(metrics, indent=1) + "\n")
    metadata = training.metadata(settings) | {"steps": learner.step}
    save_model(outputs.model, learner.average, metadata, learner.discriminator)
    write_preview(load_model(outputs.model).reenactor.eval(), few(training.people, PREVIEWED), outputs.preview)
