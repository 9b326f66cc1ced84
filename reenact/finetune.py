"""Stage `finetune`: one person's avatar at every iteration of a sweep (section 3 of the paper, *Fine-tuning*).

Too few iterations leave an identity gap, too many kill the mimics; which iteration is best is found out
afterwards, by stages drive, score and select.
"""

import shutil
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size

from reenact.checkpoint import RunFolder, fingerprint
from reenact.data import Person, load_person, sample
from reenact.errors import UserError
from reenact.images import to_tensor
from reenact.model import Reenactor, build_discriminator, load_model, pick_device, save_model
from reenact.previews import drive_people, spread_frames, write_grid
from reenact.settings.finetune import FinetuneSettings
from reenact.training import Learner, train


def guided_sweep(frames: int) -> list[int]:
    """Iterations about the published guide: 125 for one photo, growing to 230 for more than 30 frames.

    Args:
        frames: training frames of the person.
    """
    guide = 125 + (230 - 125) * min(frames - 1, 30) / 30
    return [round(guide * share) for share in (0.25, 0.5, 0.75, 1.0, 1.5)]


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
    iterations = settings.sweep or guided_sweep(len(person.frames))
    # The sweep says where to look, not how to train: a longer one goes on from the old run.
    key = {**settings.model_dump(mode="json"), "sweep": None, "code": code}
    name = f"{person.name}-{fingerprint(key, [crops, mattes, meta])}"

    @find_executable_batch_size(starting_batch_size=min(settings.max_batch, len(person.frames)))
    def attempt(batch_size: int) -> RunFolder:
        """Train with this batch size; accelerate tries a smaller one when memory runs out."""
        print(f"finetune {person.name}: {len(person.frames)} frames, batch {batch_size}, sweep {iterations}", flush=True)
        run = RunFolder(runs / f"{name}-batch{batch_size}")
        _train(person, meta, run, iterations, batch_size, place, settings)
        return run

    _publish(attempt(), person, iterations, sweep)


def _train(
    person: Person,
    meta: Path,
    run: RunFolder,
    iterations: list[int],
    batch_size: int,
    device: torch.device,
    settings: FinetuneSettings,
) -> None:
    facts = {"stage": "finetune", "identity": person.name, "frames": len(person.frames)}
    facts["settings"] = settings.model_dump(mode="json")

    def keep(step: int, average: Reenactor) -> None:
        """Write the model of one iteration into the run folder."""
        save_model(_kept(run, step), average, {**facts, "iteration": step})

    learner = personalise(person, meta, settings)
    if not _kept(run, 0).exists():
        keep(0, learner.average)
    missing = [i for i in iterations if not _kept(run, i).exists()]
    if not missing:
        return
    draw = partial(sample, [person], seed=settings.seed, batch_size=batch_size, identity_frames=0)
    train(
        learner,
        lambda step: draw(step=step),
        run,
        names=[person.name],
        steps=missing[-1],
        resume_at_most=missing[0] - 1,
        keep=iterations,
        on_keep=keep,
        device=device,
        title=f"finetune {person.name}",
    )


def personalise(person: Person, meta: Path, settings: FinetuneSettings) -> Learner:
    """The start of fine-tuning: the meta-model's averaged weights, the person's mean embedding also as label.

    The encoders are frozen and in evaluation mode: the published code leaves the pose encoder's batch norms
    drifting, so that drivers are seen through other statistics than those the generator was trained with.

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
    net.identity_embedding.requires_grad_(True)
    judge = build_discriminator(base.architecture, labels=1)
    ours = judge.state_dict()
    judge.load_state_dict(ours | {k: v for k, v in judge_weights.items() if v.shape == ours[k].shape})
    judge.labels.weight = identity
    return Learner(net, judge, settings)


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
        for iteration in [0, *iterations]:
            shutil.copyfile(_kept(run, iteration), folder / f"{iteration:06d}.safetensors")
            net = load_model(_kept(run, iteration))[0].eval()
            rows.append(drive_people(net, [person], drivers, torch.device("cpu"))[0])
        write_grid(folder / "preview.png", rows)
        stats = [row for row in run.stats() if row["step"] <= iterations[-1]]
        pd.DataFrame(stats).to_csv(folder / "curves.csv", index=False)
        if sweep.exists():
            shutil.rmtree(sweep)
        folder.rename(sweep)
