"""Stage `pretrain`: the pose encoder of the warping family learns what faces do, by blendshapes and landmarks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from reenact.data.clip_arrays import load_clip_arrays, store_clip_arrays
from reenact.data.expressions import MEASURES, Expressions, ExpressionSamples, find_expressions
from reenact.data.sequence import spread
from reenact.data.shard_people import Shards
from reenact.data.training_clips import Clips, TrainingClip, few
from reenact.evaluation.readouts import readout_correlations
from reenact.faces.landmarks import found as faces_found
from reenact.models.encoder_file import PretrainedEncoder, save_encoder
from reenact.models.face_encoder import SIZE, FaceEncoder, describe
from reenact.models.face_encoder_weights import fill_trunk
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, write_text
from reenact.runtime.parallel import cpu_threads
from reenact.settings.pretrain import PretrainSettings
from reenact.training.checkpoint import RunFolder, Runs
from reenact.training.encoder_pretraining import EncoderTraining

FITTED, VALIDATED = 1500, 96
"""Frames that the read-outs are fitted to, and frames of each validating clip."""


@dataclass(frozen=True)
class PretrainOutputs:
    """Files that the stage writes: the encoder, a row of statistics a step, and how well it reads faces."""

    encoder: Path
    curves: Path
    metrics: Path


def pretrain(
    *,
    clips: Clips | Shards,
    validation: Clips | Shards | None = None,
    landmarker: Path,
    outputs: PretrainOutputs,
    runs: Runs,
    device: str = "auto",
    threads: int = 0,
    settings: PretrainSettings,
) -> None:
    """Pretrain a pose encoder.

    Args:
        clips: of crops of 256 px (or a multiple), to learn from.
        validation: clips of other people, on which the encoder is measured at the end.
        landmarker: face_landmarker_v2.task, which teaches, and whose weights the encoder begins with.
        outputs: what to write.
        runs: where run folders are made.
        device, threads: see `pick_device`.
        settings: see `PretrainSettings`.

    Raises:
        UserError: there is no face to learn from, the landmarker cannot be read, or the run folder is in use.
    """
    learned = few(clips.load(SIZE), settings.clips)
    key = settings.model_dump(mode="json", exclude=settings.without_effect)
    run = RunFolder(runs.path(settings.name, key, [*clips.files, landmarker]))
    picked = pick_device(device, threads)
    with run.lock():
        known = _expressions(run, learned, landmarker, settings.frames, cpu_threads(threads))
        samples = ExpressionSamples(learned, known, picked)
        if not samples:
            raise UserError("pretrain: no face in any clip; give --crops and --mattes of people, or --shard-files")
        print(f"pretrain: {len(samples)} frames of {len(learned)} clips", flush=True)
        training = _start(samples, landmarker, settings, picked)
        training.train(run)
        tried = [] if validation is None else few(validation.load(SIZE))
        measured = _measure(training.encoder, learned, tried, settings.seed) if tried else pd.DataFrame()
        about = {"frames": len(samples), "settings": settings.model_dump(mode="json")}
        _publish(training, outputs, measured, run, about)


def _expressions(
    run: RunFolder, clips: list[TrainingClip], landmarker: Path, most: int, threads: int
) -> list[Expressions]:
    """What the landmarker says of the frames: asked once, and kept in the run folder."""
    path = run.path / "expressions.npz"
    if not path.exists():
        store_clip_arrays(path, find_expressions(clips, landmarker, most, threads))
    return load_clip_arrays(path, Expressions)


def _start(
    samples: ExpressionSamples, landmarker: Path, settings: PretrainSettings, device: torch.device
) -> EncoderTraining:
    """An encoder with the landmarker's trunk, and a head that follows from the seed."""
    torch.manual_seed(settings.seed)
    encoder = FaceEncoder(settings.outputs)
    fill_trunk(encoder.trunk, landmarker)
    return EncoderTraining(encoder.to(device).to(memory_format=torch.channels_last), samples, settings)


def _measure(encoder: FaceEncoder, learned: list[TrainingClip], tried: list[TrainingClip], seed: int) -> pd.DataFrame:
    """How well read-outs, fitted to frames that were learned from, follow the landmarks of other clips: a row each."""
    tried = [clip for clip in tried if faces_found(np.asarray(clip.landmarks)).any()]
    pool = [(clip, row) for clip in learned for row in np.flatnonzero(faces_found(np.asarray(clip.landmarks))).tolist()]
    chosen = np.random.default_rng(seed).permutation(len(pool))[:FITTED]
    fitted = [pool[number] for number in sorted(chosen.tolist())]
    if not tried or not fitted:
        return pd.DataFrame()
    known = describe(encoder, [clip.frames[row] for clip, row in fitted])
    points = np.stack([clip.landmarks[row] for clip, row in fitted])
    clips = []
    for clip in tried:
        landmarks = np.asarray(clip.landmarks)
        rows = np.flatnonzero(faces_found(landmarks))
        rows = rows[spread(len(rows), VALIDATED)]
        clips.append((describe(encoder, [clip.frames[row] for row in rows.tolist()]), landmarks[rows]))
    table = readout_correlations((known, points), clips)
    table.insert(0, "clip", [clip.name for clip in tried])
    return table


def _publish(
    training: EncoderTraining, outputs: PretrainOutputs, measured: pd.DataFrame, run: RunFolder, about: dict[str, Any]
) -> None:
    """Write encoder, curves and metrics."""
    encoder = training.encoder.cpu()
    metadata = {"stage": "pretrain", "measures": list(MEASURES), "steps": training.step, **about}
    save_encoder(outputs.encoder, PretrainedEncoder(encoder, training.readout_in_units(), metadata))
    with atomic_write(outputs.curves) as temporary:
        pd.DataFrame(run.stats()).to_csv(temporary, index=False)
    clips = measured.set_index("clip") if len(measured) else measured
    metrics = {
        "steps": training.step,
        "frames": about["frames"],
        "million_parameters": round(sum(p.numel() for p in encoder.parameters()) / 1e6, 3),
        "read_out_r": {
            "mean": clips.mean().round(3).to_dict(),
            "worst": clips.min().round(3).to_dict(),
            "clips": {str(name): row.round(3).to_dict() for name, row in clips.iterrows()},
        },
    }
    write_text(outputs.metrics, json.dumps(metrics, indent=1) + "\n")
