"""Meta-learn one model from the clips of many people."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.code_fingerprint import code
from reenact.runtime.startup import quick_imports
from reenact.runtime.torchrun import launch
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.settings.saved_run import saved_settings
from reenact.settings.score import ScoreSettings


@command(__doc__, MetaSettings, ModelSettings, ScoreSettings, saved=saved_settings, resumable=True)
@click.option("--crops", type=FILE, multiple=True, help="Clip files of stage crop.")
@click.option("--mattes", type=FILE, multiple=True, help="Clip files of stage segment, in the same order.")
@click.option("--shard-files", type=FILE, multiple=True, help="Files of stage shard, in place of all clip files.")
@click.option(
    "--identities",
    multiple=True,
    help="Who is seen in each clip, in the same order; by default each shows somebody else.",
)
@click.option("--validation-crops", type=FILE, multiple=True, help="Crops of people who validate; none: pictures only.")
@click.option("--validation-mattes", type=FILE, multiple=True, help="Their mattes, in the same order.")
@click.option("--validation-identities", multiple=True, help="Who they are, likewise.")
@click.option("--model", type=FILE, required=True, help="Model file to write (.safetensors).")
@click.option("--curves", type=FILE, required=True, help="Losses by step, to write (.csv).")
@click.option("--metrics", type=FILE, required=True, help="How good the model is, to write (.json).")
@click.option("--preview", type=FILE, required=True, help="Picture of identities x drivers to write (.png).")
@click.option("--runs", type=FILE, required=True, help="Folder for checkpoints, statistics and TensorBoard.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Build everything, make three steps, print memory and time of the whole, and write nothing.",
)
@device_options
def main(
    settings: MetaSettings,
    model_settings: ModelSettings,
    score: ScoreSettings,
    *,
    shard_files: tuple[Path, ...],
    runs: Path,
    device: str,
    threads: int,
    dry_run: bool,
    **arguments: Any,
) -> None:
    if launch(settings.processes):
        return

    with quick_imports():
        from reenact.data.shard_people import Shards
        from reenact.data.training_clips import Clips
        from reenact.monitoring.validation import ValidationSource
        from reenact.stages.meta import MetaOutputs, dry_run_meta, make_meta_model
        from reenact.training.checkpoint import Runs

    sources: tuple[Clips | Shards, Clips | Shards]
    given = [[arguments.pop(kind + name) for name in ("crops", "mattes", "identities")] for kind in ("", "validation_")]
    if shard_files:
        sources = (Shards(shard_files, "train", settings.sample_of), Shards(shard_files, "validation", "identity"))
    else:
        sources = Clips(*given[0]), Clips(*given[1])
    training: dict[str, Any] = {
        "clips": sources[0],
        "validation": ValidationSource(sources[1], score),
        "device": device,
        "threads": -(-threads // settings.processes),
        "settings": settings,
        "model": model_settings,
    }
    if dry_run:
        dry_run_meta(**training)
    else:
        make_meta_model(**training, outputs=MetaOutputs(**arguments), runs=Runs(runs, code("meta")))


if __name__ == "__main__":
    run(main)
