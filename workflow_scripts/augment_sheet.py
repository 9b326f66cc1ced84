"""Show what augmentation does to training samples: a picture with a row for each."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings


@command(__doc__, MetaSettings, ModelSettings)
@click.option("--crops", type=FILE, multiple=True, help="Clip files of stage crop.")
@click.option("--mattes", type=FILE, multiple=True, help="Clip files of stage segment, in the same order.")
@click.option("--shard-files", "shards", type=FILE, multiple=True, help="Files of stage shard, in place of clip files.")
@click.option("--sheet", type=FILE, required=True, help="Picture to write (.png).")
@click.option("--samples", type=int, default=8, show_default=True, help="Rows.")
def main(settings: MetaSettings, model: ModelSettings, **arguments: Any) -> None:
    from reenact.tools.augment_sheet import draw_augment_sheet

    draw_augment_sheet(**arguments, size=model.image_size, settings=settings)


if __name__ == "__main__":
    run(main)
