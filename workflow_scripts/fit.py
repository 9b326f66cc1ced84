"""Fit the face model of the warping family to many people, and write the model that stage meta begins with."""

from pathlib import Path

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.startup import quick_imports
from reenact.settings.fit import FitSettings


@command(__doc__, FitSettings)
@click.option("--crops", type=FILE, multiple=True, help="Clip files of stage crop.")
@click.option("--mattes", type=FILE, multiple=True, help="Clip files of stage segment, in the same order.")
@click.option("--shard-files", type=FILE, multiple=True, help="Files of stage shard, in place of all clip files.")
@click.option("--encoder", type=FILE, required=True, help="Pose encoder of stage pretrain (.safetensors).")
@click.option("--landmarker", type=FILE, required=True, help="face_landmarker_v2.task, which finds the meshes.")
@click.option("--start", type=FILE, required=True, help="Model file to write (.safetensors).")
@device_options
def main(
    settings: FitSettings,
    *,
    crops: tuple[Path, ...],
    mattes: tuple[Path, ...],
    shard_files: tuple[Path, ...],
    encoder: Path,
    landmarker: Path,
    start: Path,
    device: str,
    threads: int,
) -> None:
    with quick_imports():
        from reenact.data.shard_people import Shards
        from reenact.data.training_clips import Clips
        from reenact.stages.fit import fit

    fit(
        clips=Shards(shard_files, "train", "clip") if shard_files else Clips(crops, mattes),
        encoder=encoder,
        landmarker=landmarker,
        start=start,
        device=device,
        threads=threads,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
