"""Stage `meta`: one model that can be anybody (section 3 of the paper), trained here or taken from a file."""

import copy
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from reenact.errors import UserError
from reenact.files import write_text, written_whole
from reenact.images import to_tensor
from reenact.learning.checkpoint import RunFolder, fingerprint
from reenact.learning.data import Person, load_person, people_of, sample
from reenact.learning.landmark_network import LandmarkNetwork
from reenact.learning.pose_warmup import scale_descriptors, teach_pose
from reenact.learning.previews import drive_people, spread_frames, write_grid
from reenact.learning.training import Learner, pose_response, train
from reenact.model import Reenactor, build_discriminator, load_model, pick_device, save_model
from reenact.networks.architecture import PRESETS
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings

PREVIEW_FRAMES = 8


@dataclass(frozen=True)
class MetaOutputs:
    """Files that the stage writes: the model, one row of statistics a step, and identities x drivers as a picture."""

    model: Path
    curves: Path
    preview: Path


def make_meta_model(
    *,
    crops: Sequence[Path],
    mattes: Sequence[Path],
    outputs: MetaOutputs,
    runs: Path,
    device: str,
    threads: int = 0,
    code: str,
    settings: MetaSettings,
    model_settings: ModelSettings,
    identities: Sequence[str] = (),
) -> None:
    """Meta-learn from clips, or copy the model that `settings.source` names.

    Args:
        crops, mattes: clip files of stages crop and segment, one pair a clip.
        outputs: what to write.
        runs: folder in which run folders are made.
        device, threads: see `pick_device`.
        code: fingerprint of the code, so that changed code never continues an old run.
        settings, model_settings: of the stage and of the networks.
        identities: who is seen in each clip; empty = each shows somebody else.

    Raises:
        UserError: not as many identities as clips.
    """
    if identities and len(identities) != len(crops):
        raise UserError(f"--identities: {len(identities)} names for {len(crops)} clips; give one for each, in the same order")
    if settings.source == "train":
        size = PRESETS[model_settings.preset].image_size
        clips = [load_person(c, m, size, who) for c, m, who in zip(crops, mattes, identities or [""] * len(crops))]
        _train(clips, [*crops, *mattes], outputs, runs, pick_device(device, threads), code, settings, model_settings)
    else:
        _take(Path(settings.source), outputs)
    net = load_model(outputs.model)[0].eval()
    people = [load_person(c, m, net.architecture.image_size) for c, m in zip(crops, mattes)]
    _write_preview(net, people, outputs.preview)


def _take(source: Path, outputs: MetaOutputs) -> None:
    if not load_model(source)[2]:
        raise UserError(f"{source}: an avatar, which is one person's; meta.source needs a meta-model")
    with written_whole(outputs.model) as temporary:
        shutil.copyfile(source, temporary)
    write_text(outputs.curves, "step\n")


def _train(
    clips: list[Person],
    files: list[Path],
    outputs: MetaOutputs,
    runs: Path,
    device: torch.device,
    code: str,
    settings: MetaSettings,
    model_settings: ModelSettings,
) -> None:
    architecture, people = PRESETS[model_settings.preset], list(people_of(clips))
    torch.manual_seed(settings.seed)
    net = Reenactor(architecture)
    facts = {"stage": "meta", "clips": [clip.name for clip in clips], "settings": settings.model_dump(mode="json")}
    # More steps of the same run are not another run: `steps` stays out of the fingerprint.
    key = {**facts["settings"], "steps": None, "code": code, "preset": model_settings.preset}
    run = RunFolder(runs / f"{settings.name}-{fingerprint(key, [*files, *map(Path, settings.weight_files().values())])}")
    draw = partial(
        sample, clips, seed=settings.seed, batch_size=settings.batch_size, identity_frames=settings.identity_frames,
        mirror=settings.mirror, extremes=settings.extremes, emphasis=settings.losses.eyes_mouth > 0,
    )  # fmt: skip
    fresh = not run.latest(settings.steps)
    landmarks = _landmark_network(net, clips, run, settings, device, fresh and not settings.start)
    if fresh and not settings.start:
        scale_descriptors(net.cpu(), sample(clips, seed=settings.seed, step=0, batch_size=32, identity_frames=1))
    learner = Learner(net, build_discriminator(architecture, len(people)), settings)
    if fresh and settings.start:
        _start_from(learner, Path(settings.start))
    train(
        learner,
        lambda step: draw(step=step),
        run,
        names=people,
        steps=settings.steps,
        measure=lambda average: {"pose_response": _mean_response(average, clips, device)},
        landmarks=landmarks,
        device=device,
        title=f"meta {settings.name}",
    )
    with written_whole(outputs.curves) as temporary:
        pd.DataFrame(run.stats()).to_csv(temporary, index=False)
    save_model(outputs.model, learner.average, {**facts, "steps": settings.steps}, learner.discriminator)


def _landmark_network(
    net: Reenactor, clips: list[Person], run: RunFolder, settings: MetaSettings, device: torch.device, warm_up: bool
) -> LandmarkNetwork | None:
    """Teach the pose encoder (`teach_pose`) if `warm_up`; what it knows then, kept in the run folder, for the landmark loss."""
    kept = run.path / "landmarks.safetensors"
    taught = not warm_up or teach_pose(net.pose_encoder, clips, steps=settings.pose_warmup, seed=settings.seed, device=device)
    if not settings.losses.landmarks:
        return None
    if isinstance(taught, LandmarkNetwork):
        with written_whole(kept) as temporary:
            save_file(taught.state_dict(), temporary)
    network = LandmarkNetwork(copy.deepcopy(net.pose_encoder))
    try:
        network.load_state_dict(load_file(kept))
    except OSError:
        raise UserError("losses.landmarks: needs the network of the pose warm-up; set meta.pose_warmup (e.g. 1000), or the weight to 0") from None
    return network.frozen().to(device)


def _start_from(learner: Learner, folder: Path) -> None:
    """Take over networks, averages and optimizers of another run's last checkpoint, from step 0 and with our settings.

    The discriminator's label rows belong to that run's clips: with another number of clips they begin anew.
    """
    found = RunFolder(folder).latest(sys.maxsize) if folder.is_dir() else None
    if not found:
        raise UserError(f"meta.start: {str(folder)!r} holds no checkpoint; give a folder of results/runs/meta, or import_published's --checkpoint-out")
    step, state = found
    own, rows = learner.state(), "labels.parametrizations.weight.original"
    kept = state["networks"][1][rows].shape == own["networks"][1][rows].shape
    if not kept:
        state["networks"][1] |= {key: value for key, value in own["networks"][1].items() if key.startswith("labels.")}
        names = [name for name, _ in learner.discriminator.named_parameters()]
        state["optimizers"][1]["state"].pop(names.index(rows), None)
    for theirs, ours in zip(state["optimizers"], own["optimizers"]):
        theirs["param_groups"] = ours["param_groups"]
    try:
        learner.load_state(state | {"step": 0})
    except (RuntimeError, ValueError) as error:
        raise UserError(f"meta.start: {str(folder)!r} is of other networks than model.preset ({str(error).splitlines()[0]})") from None
    print(f"meta: starting from step {step} of {folder}; label rows {'kept' if kept else 'begin anew'}", flush=True)


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
