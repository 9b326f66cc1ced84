"""How meta-learning begins: from the seed, with the weights of another run, or in its place."""

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from reenact.data.samples import Person
from reenact.models.reenactor import Reenactor
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write
from reenact.settings.meta import MetaSettings
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.landmark_network import LandmarkNetwork
from reenact.training.learner import Learner
from reenact.training.pose_warmup import pretrain_pose_encoder

FIXED = ("model.preset", "meta.optimizer", "people")
"""Of what `RunFolder.describe` keeps: what cannot change when a run goes on."""

LANDMARKS = "landmarks.safetensors"
LABEL_ROWS = "labels.parametrizations.weight.original"


def landmark_network(
    net: Reenactor, clips: list[Person], run: RunFolder, settings: MetaSettings, device: torch.device, warm_up: bool
) -> LandmarkNetwork | None:
    """Teach the pose encoder (`pretrain_pose_encoder`) if `warm_up`; what it knows then, kept in the run folder, for the landmark loss.

    Raises:
        UserError: the loss is wanted, but there was no warm-up.
    """
    kept, again = run.path / LANDMARKS, settings.start is not None
    steps = settings.start_warmup if again else settings.pose_warmup
    taught = not warm_up or pretrain_pose_encoder(
        net.pose_encoder, clips, steps=steps, seed=settings.seed, device=device, again=again
    )
    if not settings.losses.landmarks:
        return None
    if isinstance(taught, LandmarkNetwork) and distributed.is_main():
        with atomic_write(kept) as temporary:
            save_file(taught.state_dict(), temporary)
    distributed.barrier()
    network = LandmarkNetwork(copy.deepcopy(net.pose_encoder))
    try:
        network.load_state_dict(load_file(kept))
    except OSError:
        raise UserError(
            "losses.landmarks: needs the network of the pose warm-up; set meta.pose_warmup (with start, start_warmup; e.g. 1000), or the weight to 0"
        ) from None
    return network.frozen().to(device)


def start_from(learner: Learner, folder: Path) -> None:
    """Take over networks, averages and optimizers of another run's last checkpoint, from step 0.

    The discriminator's label rows belong to that run's people: with another number of people they begin anew.

    Raises:
        UserError: there is no checkpoint, or one of other networks.
    """
    step, state = _last(folder, "meta.start")
    own = learner.state()
    kept = state["networks"][1][LABEL_ROWS].shape == own["networks"][1][LABEL_ROWS].shape
    if not kept:
        state["networks"][1] |= {key: value for key, value in own["networks"][1].items() if key.startswith("labels.")}
        names = [name for name, _ in learner.discriminator.named_parameters()]
        state["optimizers"][1]["state"].pop(names.index(LABEL_ROWS), None)
    _load(learner, state | {"step": 0, "seconds": 0.0}, folder, "meta.start")
    if distributed.is_main():
        print(f"meta: starting from step {step} of {folder}; label rows {'kept' if kept else 'begin anew'}", flush=True)


def take_landmarks(folder: Path, run: RunFolder) -> None:
    """Copy the landmark network of a run that another is to take the place of, if it has one."""
    if (folder / LANDMARKS).is_file() and distributed.is_main():
        with atomic_write(run.path / LANDMARKS) as temporary:
            shutil.copyfile(folder / LANDMARKS, temporary)


def resume_from(learner: Learner, folder: Path, run: RunFolder, about: dict[str, Any]) -> None:
    """Take another run's place: all of its last checkpoint, its step included; learning rates and the like are ours.

    Args:
        learner: changed in place.
        folder: of the other run.
        run: this one, which gets the statistics so far.
        about: what `run` is of, as `RunFolder.describe` keeps it.

    Raises:
        UserError: there is no checkpoint, or what cannot change has changed; says what.
    """
    step, state = _last(folder, "meta.resume")
    was = RunFolder(folder).about()
    changes = [
        f"{name}: was {_words(was[name])}, is {_words(about[name])}"
        for name in FIXED
        if name in was and was[name] != about[name]
    ]
    rows = [len(weights["networks"][1][LABEL_ROWS]) for weights in (state, learner.state())]
    if rows[0] != rows[1] and not changes:
        changes = [f"people: were {rows[0]}, are {rows[1]}"]
    if changes:
        raise UserError(
            f"meta.resume: {str(folder)!r} cannot go on with other {'; '.join(changes)}. meta.start takes over what fits"
        )
    _load(learner, state, folder, "meta.resume")
    if distributed.is_main():
        run.copy_stats(RunFolder(folder), step)
        print(f"meta: going on from step {step} of {folder}", flush=True)


def _words(value: Any) -> str:
    """A value as people say it; of many names the number and the first few."""
    if not isinstance(value, list):
        return repr(value)
    return f"{len(value)} ({', '.join(value[:5])}{', ...' if len(value) > 5 else ''})"


def _last(folder: Path, setting: str) -> tuple[int, dict[str, Any]]:
    found = RunFolder(folder).latest() if folder.is_dir() else None
    if not found:
        raise UserError(
            f"{setting}: {str(folder)!r} holds no checkpoint; give a folder of results/runs/meta, or import_published's --checkpoint-out"
        )
    return found


def _load(learner: Learner, state: dict[str, Any], folder: Path, setting: str) -> None:
    try:
        learner.load_state(state)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{setting}: {str(folder)!r} is of other networks than model.preset ({str(error).splitlines()[0]})"
        ) from None
