"""Stage `finetune`: one person's avatar at every iteration of a sweep (section 3 of the paper, *Fine-tuning*).

Too few iterations leave an identity gap, too many kill the expression; which iteration is best is found out
afterwards, by stages drive, score and select. Here the sweep is only watched (`reenact.evaluation.watch`), so that iterations
past a clear turn are not trained, and the sweep goes on once where a further iteration may be better.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pandas as pd
import torch
from accelerate.utils import find_executable_batch_size

from reenact.data.images import to_tensor
from reenact.data.samples import Batch, PeopleInMemory, Person, load_person, sample
from reenact.data.sharing import own_share
from reenact.evaluation.sweep import extension
from reenact.evaluation.watch import Watch
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.score import ScoreSettings
from reenact.settings.select import SelectSettings
from reenact.training.checkpoint import RunFolder, fingerprint
from reenact.training.learner import Learner
from reenact.training.loop import train
from reenact.training.previews import drive_people, spread_frames, write_grid
from reenact.training.validation import Validation

SHEET_FRAMES = 6
"""Of the person's own, on TensorBoard: where the identity gap becomes small."""


def guided_sweep(frames: int) -> list[int]:
    """Iterations about the published guide: 125 for one photo, growing to 230 for more than 30 frames.

    Args:
        frames: training frames of the person.
    """
    guide = 125 + (230 - 125) * min(frames - 1, 30) / 30
    return [round(guide * share) for share in (0.25, 0.5, 0.75, 1.0, 1.5)]


@dataclass(frozen=True)
class Driver:
    """Crops and mattes of the person who drives the avatar across people, and how stages score and select will judge it."""

    crops: Path
    mattes: Path
    score: ScoreSettings
    select: SelectSettings


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
    driver: Driver | None = None,
) -> None:
    """Write `sweep`/<iteration>.safetensors for iteration 0 (no fine-tuning) and every one of the sweep.

    Also curves.csv (one row of statistics a step), preview.png (a row an iteration) and, where the sweep is watched,
    watch.csv (a row an iteration, `reenact.evaluation.watch.COLUMNS`): `settings.stop_early` leaves out the rest of the sweep after
    a clear turn, `settings.extend` adds one iteration where a further one may be better.

    Args:
        crops, mattes: clip files of the person.
        meta: the meta-model.
        sweep: folder to write.
        runs: folder in which run folders are made.
        device, threads: see `pick_device`.
        code: fingerprint of the code, so that changed code never continues an old run.
        settings: of the stage.
        driver: for watching; None = the sweep is trained as it is given.
    """
    place = pick_device(device, threads)
    size = load_model(meta)[0].architecture.image_size
    person = load_person(crops, mattes, size)
    iterations = guided_sweep(len(person.frames)) if settings.sweep is None else settings.sweep
    # The sweep says where to look, not how to train: a longer one goes on from the old run.
    key = {
        **settings.model_dump(
            mode="json", exclude={"sweep", "stop_early", "extend", "choose", *settings.without_effect}
        ),
        "code": code,
    }
    name = f"{person.name}-{fingerprint(key, [crops, mattes, meta, *map(Path, settings.weight_files().values())])}"

    def attempt(batch_size: int, watch: Watch | None) -> tuple[RunFolder, list[int]]:
        """Train with this batch size; accelerate tries a smaller one when memory runs out."""
        print(
            f"finetune {person.name}: {len(person.frames)} frames, batch {batch_size}, sweep {iterations}", flush=True
        )
        run = RunFolder(runs / f"{name}-batch{batch_size}")
        return run, _train(person, meta, run, iterations, batch_size, place, settings, watch)

    watched = driver and iterations and (settings.stop_early or settings.extend)
    with watch_sweep(crops, mattes, driver, size, str(place)) if watched else nullcontext() as watch:
        run, trained = find_executable_batch_size(attempt, min(settings.max_batch, len(person.frames)))(watch)
        _publish(run, person, trained, sweep, watch.table(trained) if watch else None)


def watch_sweep(crops: Path, mattes: Path, driver: Driver, size: int, device: str) -> Watch:
    """The watch over one person's sweep; see `finetune` and `Watch`."""
    return Watch((crops, mattes), (driver.crops, driver.mattes), size, device, driver.score, driver.select)


def _train(
    person: Person,
    meta: Path,
    run: RunFolder,
    iterations: list[int],
    batch_size: int,
    device: torch.device,
    settings: FinetuneSettings,
    watch: Watch | None,
) -> list[int]:
    """Make the model of iteration 0 and of those of the sweep that are worth it; returns which.

    What is in the run folder already is not trained again, but judged again: decisions follow from the models alone, so
    that a run that was killed decides as one that was not.
    """
    facts = {"stage": "finetune", "identity": person.name, "frames": len(person.frames)}
    facts["settings"] = settings.model_dump(mode="json")
    plan, made = [0, *iterations], []

    def past_its_best(iteration: int) -> bool:
        """Look at the model of an iteration; all before it were looked at."""
        if watch is None:
            return False
        watch.see(iteration, _kept(run, iteration))
        return settings.stop_early and watch.turned([i for i in plan if i <= iteration])

    def keep(step: int, average: Reenactor) -> bool:
        """Write the model of one iteration into the run folder; True = the sweep ends here."""
        save_model(_kept(run, step), average, {**facts, "iteration": step})
        return past_its_best(step)

    for iteration in plan:  # it grows by one where the sweep is extended
        missing = list(takewhile(lambda i: not _kept(run, i).exists(), plan[len(made) :]))
        if missing:
            _train_on(person, meta, run, missing, batch_size, device, settings, keep)
        made.append(iteration)
        if past_its_best(iteration):
            print(
                f"finetune {person.name}: past its best at {iteration}, the rest of the sweep is left out", flush=True
            )
            break
        if watch and settings.extend and made == [0, *iterations] and watch.goes_on(made):
            plan.append(extension(iterations))
            print(f"finetune {person.name}: may be better after {iteration}, going on to {plan[-1]}", flush=True)
    return made


def _train_on(
    person: Person,
    meta: Path,
    run: RunFolder,
    missing: list[int],
    batch_size: int,
    device: torch.device,
    settings: FinetuneSettings,
    keep: Callable[[int, Reenactor], bool],
) -> None:
    """Go on from the run folder's last checkpoint before the first of `missing`, and keep the models of all of them."""
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
        share=own_share(batch_size),
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


def _publish(run: RunFolder, person: Person, iterations: list[int], sweep: Path, watched: pd.DataFrame | None) -> None:
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
        if watched is not None:
            watched.to_csv(folder / "watch.csv", index=False, float_format="%.6g")
        if sweep.exists():
            shutil.rmtree(sweep)
        folder.rename(sweep)
