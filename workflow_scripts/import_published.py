"""Turn a checkpoint of the authors' code (.pth), meta-model or fine-tuned avatar, into a model file."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports


@command(__doc__)
@click.option("--checkpoint", type=FILE, required=True, help="The authors' file (.pth).")
@click.option("--model", type=FILE, required=True, help="Model file to write (.safetensors).")
@click.option(
    "--checkpoint-out", type=FILE, help="Folder for everything that training needs to go on; not written by default."
)
@click.option(
    "--weights",
    type=click.Choice(["average", "raw"]),
    default="average",
    show_default=True,
    help="Weights for the model.",
)
def main(**arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.import_published import import_published

    import_published(**arguments)


if __name__ == "__main__":
    run(main)
