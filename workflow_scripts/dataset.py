"""List the clips of a meta-learning set: whose they are, and who only validates."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.dataset import DatasetSettings


@command(__doc__, DatasetSettings)
@click.option("--source", type=FILE, required=True, help="Table (.csv, .parquet) or folder of clips.")
@click.option("--clips", type=FILE, required=True, help="Table of clips to write (.csv).")
@click.option("--shards", type=int, required=True, help="Number of shards that they are divided into.")
def main(settings: DatasetSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.dataset import list_clips

    list_clips(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
