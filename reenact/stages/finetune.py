"""Stage `finetune`: one person's avatar at every iteration of a sweep (section 3 of the paper, *Fine-tuning*).

Too few iterations leave an identity gap, too many kill the expression. Which iteration is best is found out afterwards,
by stages drive, score and select.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size

from reenact.data.images import to_tensor
from reenact.data.rank_batch import rank_batch
from reenact.data.samples import Batch, PeopleInMemory, Person, load_person, sample
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.monitoring.previews import drive_people, spread_frames, write_grid
from reenact.monitoring.validation import Validation
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.settings.finetune import FinetuneSettings
from reenact.training.checkpoint import RunFolder, fingerprint
from reenact.training.learner import Learner
from reenact.training.loop import train

SHEET_FRAMES = 6
"""Of the person's own, on TensorBoard: where the identity gap becomes small."""


GUIDE = (125, 230, 30)
"""The published guide: iterations for one photo, and for more than so many frames."""

SHARES = (0.25, 0.5, 1.0, 1.5)
"""Where the sweep looks, as shares of the guide."""


def guided_sweep(frames: int) -> list[int]:
    """A quarter, half, the whole, and one and a half times the published guide for so many training frames.

    The guide: 125 iterations for one photo, growing to 230 for more than 30 frames.
    """
    fewest, most, enough = GUIDE
    guide = fewest + (most - fewest) * min(frames - 1, enough) / enough
    return [round(guide * share) for share in SHARES]


def finetune(
    *,
    crops: Path,
    mattes: Path,
    meta: Path,
    sweep: Path,
    runs: Path,
    device: str,
    threads: int = 0,
    code: str,
    settings: FinetuneSettings,
) -> None:
    """Write `sweep`/<iteration>.safetensors for iteration 0 (no fine-tuning) and every one of the sweep.

    Also curves.csv (one row of statistics a step) and preview.png (a row an iteration).

    Args:
        crops, mattes: clip files of the person.
        meta: the meta-model.
        sweep: folder to write.
        runs: folder in which run folders are made.
        device, threads: see `pick_device`.
        code: fingerprint of the code, so that changed code never continues an old run.
        settings: of the stage.
    """
    place = pick_device(device, threads)
    size = load_model(meta)[0].architecture.image_size
    person = load_person(crops, mattes, size)
    iterations = guided_sweep(len(person.frames)) if settings.sweep is None else settings.sweep
    # The sweep says where to look, not how to train: a longer one goes on from the old run.
    key = {**settings.model_dump(mode="json", exclude={"sweep", "choose", *settings.without_effect}), "code": code}
    name = f"{person.name}-{fingerprint(key, [crops, mattes, meta, *map(Path, settings.weight_files().values())])}"

    def attempt(batch_size: int) -> RunFolder:
        """Train with this batch size; accelerate tries a smaller one when memory runs out."""
        print(
            f"finetune {person.name}: {len(person.frames)} frames, batch {batch_size}, sweep {iterations}", flush=True
        )
        run = RunFolder(runs / f"{name}-batch{batch_size}")
        _train(person, meta, run, iterations, batch_size, place, settings)
        return run

    run = find_executable_batch_size(attempt, min(settings.max_batch, len(person.frames)))()
    _publish(run, person, [0, *iterations], sweep)


def _train(
    person: Person,
    meta: Path,
    run: RunFolder,
    iterations: list[int],
    batch_size: int,
    device: torch.device,
    settings: FinetuneSettings,
) -> None:
    """Put the models of iteration 0 and of the sweep into the run folder; those that are there are not made again."""
    missing = [i for i in (0, *iterations) if not _kept(run, i).exists()]
    if not missing:
        return
    metadata = {"stage": "finetune", "identity": person.name, "frames": len(person.frames)}
    metadata["settings"] = settings.model_dump(mode="json")

    def keep(step: int, average: Reenactor) -> None:
        save_model(_kept(run, step), average, {**metadata, "iteration": step})

    learner = personalise(person, meta, settings)
    if missing[0] == 0:
        keep(0, learner.average)
    wanted = [i for i in missing if i]
    if not wanted:
        return
    train(
        learner,
        samples(person, settings, batch_size),
        run,
        share=rank_batch(batch_size),
        names=[person.name],
        steps=wanted[-1],
        resume_at_most=wanted[0] - 1,
        keep=wanted,
        on_keep=keep,
        validate=Validation([person], SHEET_FRAMES, device),
        device=device,
        title=f"finetune {person.name}",
    )


def personalise(person: Person, meta: Path, settings: FinetuneSettings) -> Learner:
    """The start of fine-tuning: the meta-model's averaged weights, the person's mean embedding also as label.

    The encoders are frozen and in evaluation mode: the published code leaves the pose encoder's batch norms
    drifting, so that drivers are seen through other statistics than those the generator was trained with
    (`settings.pose_encoder`).

    Raises:
        UserError: `meta` has no discriminator, as avatars have none.
    """
    base, _, judge_weights = load_model(meta)
    if not judge_weights:
        raise UserError(f"{meta}: an avatar cannot be fine-tuned; give a meta-model")
    with torch.no_grad():
        embeddings = [base.eval().identity_encoder(to_tensor(chunk[None])) for chunk in person.frames]
        identity = torch.cat(embeddings).mean(0, keepdim=True)
    net = Reenactor(base.architecture, personal=True)
    net.load_state_dict(base.state_dict() | {"identity_embedding": identity})
    net.eval().requires_grad_(False)
    net.generator.train().requires_grad_(True)
    net.pose_encoder.train(settings.pose_encoder == "published")
    net.identity_embedding.requires_grad_(True)
    judge = build_discriminator(base.architecture, labels=1)
    ours = judge.state_dict()
    judge.load_state_dict(ours | {k: v for k, v in judge_weights.items() if v.shape == ours[k].shape})
    judge.labels.weight = identity
    return Learner(net, judge, settings)


def samples(person: Person, settings: FinetuneSettings, batch_size: int) -> Callable[[int], Batch]:
    """What fine-tuning on one person learns from: step -> the samples of that step.

    A single photo is not mirrored: in batches of one it would now and then be another person's step.
    """
    people, mirror = PeopleInMemory([person]), settings.mirror if len(person.frames) > 1 else 0.0
    return lambda step: sample(
        people,
        seed=settings.seed,
        step=step,
        batch_size=batch_size,
        identity_frames=0,
        mirror=mirror,
        hard_pose_fraction=settings.hard_pose_fraction,
        emphasis=settings.losses.eyes_mouth > 0,
    )


def _kept(run: RunFolder, iteration: int) -> Path:
    return run.path / f"model_{iteration:06d}.safetensors"


def _publish(run: RunFolder, person: Person, iterations: list[int], sweep: Path) -> None:
    """Copy the models of the sweep out of the run folder and show them; the folder appears as a whole."""
    sweep.parent.mkdir(parents=True, exist_ok=True)
    drivers = spread_frames(person, 8)
    with tempfile.TemporaryDirectory(dir=sweep.parent, prefix=".sweep") as temporary:
        folder = Path(temporary) / "sweep"
        folder.mkdir()
        rows = [drivers]
        for iteration in iterations:
            shutil.copyfile(_kept(run, iteration), folder / f"{iteration:06d}.safetensors")
            net = load_model(_kept(run, iteration))[0].eval()
            rows.append(drive_people(net, [person], drivers, torch.device("cpu"))[0])
        write_grid(folder / "preview.png", rows)
        stats = [row for row in run.stats() if row["step"] <= iterations[-1]]
        pd.DataFrame(stats, columns=None if stats else ["step"]).to_csv(folder / "curves.csv", index=False)
        if sweep.exists():
            shutil.rmtree(sweep)
        folder.rename(sweep)
