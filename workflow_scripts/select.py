"""Choose the iteration of a sweep that becomes the avatar."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.select import SelectSettings


def iteration(text: str) -> int | str:
    """What --choose takes."""
    return text if text == "auto" else int(text)


@command(__doc__, SelectSettings)
@click.option("--scores", type=FILE, required=True, help="CSV of stage score.")
@click.option("--frame-scores", type=FILE, required=True, help="CSV of stage score, by frame.")
@click.option("--sweep", type=FILE, required=True, help="Folder of models of stage finetune.")
@click.option("--model", type=FILE, required=True, help="Chosen model to write.")
@click.option("--table", type=FILE, required=True, help="CSV to write: both errors by iteration.")
@click.option("--plot", type=FILE, required=True, help="PNG to write: the same as a plot.")
@click.option("--selected", type=FILE, required=True, help="JSON to write: the choice and why.")
@click.option(
    "--choose",
    "wanted",
    type=iteration,
    default="auto",
    show_default=True,
    help="auto, or an iteration of the sweep (finetune.choose).",
)
def main(settings: SelectSettings, model: Path, table: Path, plot: Path, selected: Path, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.select import SelectOutputs, select_model

    select_model(**arguments, outputs=SelectOutputs(model, table, plot, selected), settings=settings)


if __name__ == "__main__":
    run(main)
