"""Stage `meta`: one model that can be anybody (section 3 of the paper), trained here or taken from a file."""

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size
from torch import nn

from reenact.data.images import to_tensor
from reenact.data.prefetch import Prefetch
from reenact.data.rank_batch import RankBatch, rank_batch
from reenact.data.samples import People, PeopleInMemory, Person, few, load_person, sample
from reenact.data.shard_people import Shards
from reenact.evaluation.measure import Measurer
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.monitoring.previews import drive_people, spread_frames, write_grid
from reenact.monitoring.validation import Validation, pose_response
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, write_text
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.score import ScoreSettings
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder, fingerprint
from reenact.training.learner import Learner
from reenact.training.loop import train
from reenact.training.pose_warmup import calibrate_batchnorm, scale_descriptors
from reenact.training.start import landmark_network, resume_from, start_from, take_landmarks

PREVIEW_FRAMES = 8
DRY_STEPS = 3
# Clips of a large set that the pose warm-up, measures and pictures look at, and that a model's file names.
FEW = 500


@dataclass(frozen=True)
class Clips:
    """Clip files of stages crop and segment, one pair a clip; and who is seen in each (empty = each shows somebody else)."""

    crops: Sequence[Path]
    mattes: Sequence[Path]
    identities: Sequence[str] = ()

    @property
    def files(self) -> list[Path]:
        """All of what they are read from."""
        return [*self.crops, *self.mattes]

    def load(self, size: int) -> PeopleInMemory:
        """Their frames at `size` px.

        Raises:
            UserError: not as many identities as clips, or a clip has no frame to train on.
        """
        if self.identities and len(self.identities) != len(self.crops):
            raise UserError(
                f"--identities: {len(self.identities)} names for {len(self.crops)} clips; give one for each, in the same order"
            )
        names = self.identities or [""] * len(self.crops)
        return PeopleInMemory(
            [load_person(crops, mattes, size, who) for crops, mattes, who in zip(self.crops, self.mattes, names)]
        )


@dataclass(frozen=True)
class MetaOutputs:
    """Files that the stage writes: the model, a row of statistics a step, how good it is, and identities x drivers as a picture."""

    model: Path
    curves: Path
    metrics: Path
    preview: Path


def make_meta_model(
    *,
    clips: Clips | Shards,
    validation: Clips | Shards = Clips((), ()),
    outputs: MetaOutputs,
    runs: Path,
    device: str,
    threads: int = 0,
    code: str,
    settings: MetaSettings,
    model_settings: ModelSettings,
    score: ScoreSettings | None = None,
    dry_run: bool = False,
) -> None:
    """Meta-learn from clips, or copy the model that `settings.source` names.

    Args:
        clips: to learn from, in files of one clip each or in shards.
        validation: of people that the model is tried on while it learns; none = pictures of the training's people only.
        outputs: what to write.
        runs: folder in which run folders are made.
        device, threads: see `pick_device`.
        code: fingerprint of the code, so that changed code never continues an old run.
        settings, model_settings: of the stage and of the networks.
        score: how validation measures; None = as by default.
        dry_run: build everything, make DRY_STEPS steps, print what training will need, and write nothing.

    Raises:
        UserError: there is nobody to learn from.
    """
    score = score or ScoreSettings()
    if settings.source == "train":
        with distributed.init_distributed(device, threads) as place, ExitStack() as stack:
            size = PRESETS[model_settings.preset].image_size
            people, unseen = clips.load(size), few(validation.load(size), FEW)
            if not len(people):
                raise UserError("meta: there is no clip to learn from; give --crops and --mattes, or --shard-files")
            finder = (
                stack.enter_context(FaceFinder(min_confidence=score.min_confidence))
                if unseen and distributed.is_main()
                else None
            )
            validate = Validation(
                unseen or few(people, FEW), settings.validate_frames, place, Measurer(finder, score) if finder else None
            )
            job = Job(people, settings, model_settings.preset, code, clips.files, place, validate)
            if dry_run:
                job.try_out()
                return
            learner, run = job.train(runs)
            if not distributed.is_main():
                return
            _publish(job, learner, run, outputs)
    else:
        _take(Path(settings.source), outputs)
    net = load_model(outputs.model)[0].eval()
    _write_preview(net, few(clips.load(net.architecture.image_size), 6), outputs.preview)


def _take(source: Path, outputs: MetaOutputs) -> None:
    about, judge = load_model(source)[1:]
    if not judge:
        raise UserError(f"{source}: an avatar, which is one person's; meta.source needs a meta-model")
    with atomic_write(outputs.model) as temporary:
        shutil.copyfile(source, temporary)
    write_text(outputs.curves, "step\n")
    write_text(outputs.metrics, json.dumps({"source": str(source), **about}, indent=1) + "\n")


class Job:
    """One training: what to learn from, and how.

    Args:
        people: to learn from.
        settings: of the stage.
        preset: of the networks.
        code, files: what else the run folder's name depends on: the code, and what is in these files.
        device: where to train.
        validate: see `train`.
    """

    def __init__(
        self,
        people: People,
        settings: MetaSettings,
        preset: str,
        code: str,
        files: list[Path],
        device: torch.device,
        validate: Validation,
    ) -> None:
        self.people, self.settings, self.preset, self.device = people, settings, preset, device
        self.clips = few(people, FEW)
        self._code, self._files, self._validate = code, files, validate

    def facts(self) -> dict[str, Any]:
        """Plain JSON about where the model comes from, for its file."""
        names = [clip.name for clip in self.clips] if len(self.clips) < FEW else f"{len(self.people)} people"
        return {"stage": "meta", "clips": names, "settings": self.settings.model_dump(mode="json")}

    def train(self, runs: Path) -> tuple[Learner, RunFolder]:
        """Train to the end, from the last checkpoint in this job's folder in `runs`; with fewer samples at a time where memory runs out."""
        # What changes no result is left out: more steps, or other numbers of processes, of the same run are not another run.
        known = self.settings.without_effect - ({"steps"} if self.settings.decay else set())
        key = self.settings.model_dump(mode="json", exclude=known) | {"code": self._code, "preset": self.preset}
        weights = map(Path, self.settings.weight_files().values())
        run = RunFolder(runs / f"{self.settings.name}-{fingerprint(key, [*self._files, *weights])}")
        size = len(self._part(self.settings.accumulate).indices) // self.settings.accumulate
        sizes = [samples for samples in range(size, 0, -1) if size % samples == 0]

        def attempt(samples: int) -> Learner:
            return self._attempt(run, self.settings.accumulate * size // samples)

        def fewer() -> int:
            if len(sizes) == 1 or distributed.world_size() > 1:
                raise UserError(
                    f"out of memory with {sizes[0]} samples at a time; raise meta.accumulate, or set meta.precision: bf16, "
                    "fewer meta.identity_frames or a smaller model.preset"
                )
            print(f"meta: out of memory with {sizes.pop(0)} samples at a time; trying {sizes[0]}", flush=True)
            return sizes[0]

        return find_executable_batch_size(attempt, size, fewer)(), run

    def try_out(self) -> None:
        """Make a few steps in a run folder that is thrown away, and print what the whole training needs."""
        s = self.settings
        brief = s.model_copy(
            update={
                "steps": DRY_STEPS,
                "pose_warmup": min(s.pose_warmup, DRY_STEPS),
                "start_warmup": min(s.start_warmup, DRY_STEPS),
                "log_every": 1,
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            job = Job(self.people, brief, self.preset, self._code, self._files, self.device, self._validate)
            learner, run = job.train(Path(folder))
            rows = run.stats()
        if distributed.is_main():
            seconds = float(np.median([row["seconds"] for row in rows[1:]]))
            for name, net in _parts(learner).items():
                print(f"dry run: {name}: {_millions(net):.2f} million parameters")
            print(
                f"dry run: {self.device}, {distributed.world_size()} processes, {s.batch_size} samples a step, {s.precision}"
            )
            print(f"dry run: most memory {max(row['peak_memory_mb'] for row in rows):.0f} MB a process")
            waiting = np.mean([row["data_seconds"] for row in rows]) / seconds
            print(
                f"dry run: {seconds:.3g} s a step, {s.batch_size / seconds:.3g} samples/s, {waiting:.0%} of it waiting for data"
            )
            print(
                f"dry run: {s.steps} steps take about {s.steps * seconds / 3600:.3g} hours, warm-up and validation aside",
                flush=True,
            )

    def _part(self, micro_batches: int) -> RankBatch:
        """What this rank does of each step."""
        return rank_batch(self.settings.batch_size, micro_batches, distributed.rank(), distributed.world_size())

    def _attempt(self, run: RunFolder, pieces: int) -> Learner:
        """Train with a share of each step in so many pieces."""
        settings, share = self.settings, self._part(pieces)
        learner, landmarks = self._begin(run)
        draw = partial(
            sample,
            self.people,
            seed=settings.seed,
            batch_size=settings.batch_size,
            identity_frames=settings.identity_frames,
            mirror=settings.mirror,
            hard_pose_fraction=settings.hard_pose_fraction,
            emphasis=settings.losses.eyes_mouth > 0,
            part=share.indices,
        )
        with Prefetch(lambda step: draw(step=step), threads=settings.loaders, last=settings.steps) as batches:
            train(
                learner,
                batches,
                run,
                share=share,
                names=self.people.names,
                steps=settings.steps,
                max_hours=settings.max_hours or math.inf,
                measure=lambda average: {"pose_response": _mean_response(average, self.clips, self.device)},
                validate=self._validate,
                landmarks=landmarks,
                device=self.device,
                title=f"meta {settings.name}",
            )
        return learner

    def _begin(self, run: RunFolder) -> tuple[Learner, Any]:
        """Networks as they are before the first step of this run, and the landmark network, if a loss wants it."""
        settings, people = self.settings, self.people
        if settings.start and settings.resume:
            raise UserError(
                "meta.resume and meta.start exclude each other: the one goes on with a run, the other begins a new one with its weights"
            )
        if settings.start_warmup and not settings.start:
            raise UserError(
                f"meta.start_warmup: {settings.start_warmup} needs meta.start; before a training from the seed it is meta.pose_warmup"
            )
        torch.manual_seed(settings.seed)
        net = Reenactor(PRESETS[self.preset])
        learner = Learner(net, build_discriminator(net.architecture, len(people)), settings)
        for network in learner.networks:
            network.to(self.device)  # so that moments of optimizers are loaded to it
        about = {
            "model.preset": self.preset,
            "meta.optimizer": settings.optimizer,
            "people": self.people.names,
            "settings": self.facts()["settings"],
        }
        fresh = not run.latest(settings.steps)
        if fresh and (settings.resume or settings.start):
            take_landmarks(Path(settings.resume or settings.start), run)
        if fresh and settings.resume:
            resume_from(learner, Path(settings.resume), run, about)
        if fresh and settings.start:
            start_from(learner, Path(settings.start))
        from_seed = fresh and not settings.resume and not settings.start
        if from_seed and (settings.frozen_norms or settings.pose_warmup):
            calibrate_batchnorm(net.cpu().identity_encoder, self.clips, settings.seed)
            calibrate_batchnorm(net.pose_encoder, self.clips, settings.seed)
        landmarks = landmark_network(net, self.clips, run, settings, self.device, fresh and not settings.resume)
        # The average begins with what was just done to the networks.
        if from_seed:
            scale_descriptors(
                net.cpu(),
                sample(
                    people,
                    seed=settings.seed,
                    step=0,
                    batch_size=64 if settings.frozen_norms else 32,
                    identity_frames=1,
                ),
            )
            learner.average.load_state_dict(net.state_dict())
        if fresh and settings.start_warmup:
            learner.average.pose_encoder.load_state_dict(net.pose_encoder.state_dict())
        for encoder in (net.identity_encoder, net.pose_encoder):
            encoder.train(not settings.frozen_norms)
        if distributed.is_main():
            run.describe(about)
        return learner, landmarks


def _publish(job: Job, learner: Learner, run: RunFolder, outputs: MetaOutputs) -> None:
    """Write model, curves and metrics."""
    stats = run.stats()
    with atomic_write(outputs.curves) as temporary:
        pd.DataFrame(stats).to_csv(temporary, index=False)
    last = {
        name: value
        for name, value in stats[-1].items()
        if name.startswith(("validation_", "raw_validation_", "pose_response"))
    }
    facts = {
        "steps": learner.step,
        "hours": round(learner.seconds / 3600, 4),
        "million_parameters": {name: round(_millions(net), 3) for name, net in _parts(learner).items()},
        "samples_per_second": float(np.median([row["samples_per_second"] for row in stats])),
        "peak_memory_mb": max(row["peak_memory_mb"] for row in stats),
        "last": last,
        "best": run.best(),
    }
    write_text(outputs.metrics, json.dumps(facts, indent=1) + "\n")
    save_model(outputs.model, learner.average, {**job.facts(), "steps": learner.step}, learner.discriminator)


def _parts(learner: Learner) -> dict[str, nn.Module]:
    net = learner.reenactor
    parts = {name: getattr(net, name) for name in ("identity_encoder", "pose_encoder", "generator")}
    return {**parts, "discriminator": learner.discriminator}


def _millions(net: nn.Module) -> float:
    return sum(parameter.numel() for parameter in net.parameters()) / 1e6


def _mean_response(average: Reenactor, people: list[Person], device: torch.device) -> float:
    """Pose response of each person to eight of their own frames, averaged over at most eight people."""
    responses = []
    for person in people[:8]:
        frames = spread_frames(person, PREVIEW_FRAMES)
        if len(frames) > 1:
            outputs = drive_people(average, [person], frames, device)[0]
            responses.append(pose_response(to_tensor(outputs), to_tensor(frames)))
    return float(np.mean(responses)) if responses else float("nan")


def _write_preview(net: Reenactor, people: list[Person], path: Path) -> None:
    """First row: driving frames of all people; below, one row a person who follows them."""
    shown = people[:6]
    drivers = np.concatenate([spread_frames(person, 3) for person in shown])
    driven = drive_people(net, shown, drivers, torch.device("cpu"))
    blank = np.zeros_like(drivers[:1])
    rows = [np.concatenate([blank, drivers])]
    rows += [np.concatenate([spread_frames(person, 1), row]) for person, row in zip(shown, driven)]
    write_grid(path, rows)
