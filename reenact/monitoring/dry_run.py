"""A few steps of a training whose result is thrown away, to say what the whole of it needs."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reenact.settings.meta import MetaSettings
from reenact.training import distributed
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner

STEPS = 3


def dry_run(train: Callable[[MetaSettings, RunFolder], Learner], settings: MetaSettings) -> None:
    """Make STEPS steps of meta-learning and print memory, time of a step and of the whole training.

    Args:
        train: trains with these settings, in this run folder.
        settings: of the whole training.
    """
    warmups = {name: min(getattr(settings, name), STEPS) for name in ("pose_warmup", "start_warmup")}
    brief = settings.model_copy(update={"steps": STEPS, "log_every": 1, **warmups})
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        learner = train(brief, run)
        rows = run.stats()
    if not distributed.is_main():
        return
    seconds = float(np.median([row["seconds"] for row in rows[1:]]))
    waiting = np.mean([row["data_seconds"] for row in rows]) / seconds
    device, batch_size = next(learner.reenactor.parameters()).device, settings.batch_size
    lines = [
        *(f"{name}: {count:.2f} million parameters" for name, count in million_parameters(learner).items()),
        f"{device}, {distributed.world_size()} processes, {batch_size} samples a step, {learner.precision}",
        f"most memory {max(row['peak_memory_mb'] for row in rows):.0f} MB a process",
        f"{seconds:.3g} s a step, {batch_size / seconds:.3g} samples/s, {waiting:.0%} of it waiting for data",
        f"{settings.steps} steps take about {settings.steps * seconds / 3600:.3g} hours, warm-up and validation aside",
    ]
    print("\n".join(f"dry run: {line}" for line in lines), flush=True)


def million_parameters(learner: Learner) -> dict[str, float]:
    """Size of each network, in million parameters."""
    networks = dict(learner.reenactor.named_children())
    if learner.discriminator is not None:
        networks["discriminator"] = learner.discriminator
    counts = {name: sum(parameter.numel() for parameter in net.parameters()) / 1e6 for name, net in networks.items()}
    return {name: count for name, count in counts.items() if count}
