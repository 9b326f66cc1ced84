"""Pretrain the pose encoder of the warping family on the expressions of many people."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.code_fingerprint import code
from reenact.runtime.startup import quick_imports
from reenact.settings.pretrain import PretrainSettings


@command(__doc__, PretrainSettings, resumable=True)
@click.option("--crops", type=FILE, multiple=True, help="Clip files of stage crop.")
@click.option("--mattes", type=FILE, multiple=True, help="Clip files of stage segment, in the same order.")
@click.option("--shard-files", type=FILE, multiple=True, help="Files of stage shard, in place of all clip files.")
@click.option("--validation-crops", type=FILE, multiple=True, help="Crops of people whom the encoder is measured on.")
@click.option("--validation-mattes", type=FILE, multiple=True, help="Their mattes, in the same order.")
@click.option("--landmarker", type=FILE, required=True, help="face_landmarker_v2.task, which teaches.")
@click.option("--encoder", type=FILE, required=True, help="Encoder to write (.safetensors).")
@click.option("--curves", type=FILE, required=True, help="Loss by step, to write (.csv).")
@click.option("--metrics", type=FILE, required=True, help="How well it reads faces, to write (.json).")
@click.option("--runs", type=FILE, required=True, help="Folder for checkpoints and what the landmarker said.")
@device_options
def main(
    settings: PretrainSettings,
    *,
    shard_files: tuple[Path, ...],
    landmarker: Path,
    runs: Path,
    device: str,
    threads: int,
    **files: Any,
) -> None:
    with quick_imports():
        from reenact.data.shard_people import Shards
        from reenact.data.training_clips import Clips
        from reenact.stages.pretrain import PretrainOutputs, pretrain
        from reenact.training.checkpoint import Runs

    sources: tuple[Clips | Shards, Clips | Shards]
    given = [[files.pop(kind + name) for name in ("crops", "mattes")] for kind in ("", "validation_")]
    if shard_files:
        sources = Shards(shard_files, "train", "clip"), Shards(shard_files, "validation", "clip")
    else:
        sources = Clips(*given[0]), Clips(*given[1])
    pretrain(
        clips=sources[0],
        validation=sources[1] if sources[1].files else None,
        landmarker=landmarker,
        outputs=PretrainOutputs(**files),
        runs=Runs(runs, code("pretrain")),
        device=device,
        threads=threads,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
