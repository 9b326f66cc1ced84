"""Personalise a meta-model: one model at every iteration of the sweep."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.code_fingerprint import code
from reenact.runtime.startup import quick_imports
from reenact.settings.finetune import FinetuneSettings


@command(__doc__, FinetuneSettings, resumable=True)
@click.option("--crops", type=FILE, required=True, help="The person's clip file of stage crop.")
@click.option("--mattes", type=FILE, required=True, help="The person's clip file of stage segment.")
@click.option("--meta", type=FILE, required=True, help="Meta-model (.safetensors).")
@click.option("--sweep-folder", "sweep", type=FILE, required=True, help="Folder to write, one model an iteration.")
@click.option("--runs", type=FILE, required=True, help="Folder for checkpoints.")
@device_options
def main(settings: FinetuneSettings, *, runs: Path, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.finetune import finetune
        from reenact.training.checkpoint import Runs

    finetune(**arguments, runs=Runs(runs, code("finetune")), settings=settings)


if __name__ == "__main__":
    run(main)
