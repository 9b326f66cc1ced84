"""Crop the tracked face of one clip to a square."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.startup import quick_imports
from reenact.settings.crop import CropSettings


@command(__doc__, CropSettings)
@click.option("--media", type=FILE, required=True, help="Video, image, folder of images, or folder of crops.")
@click.option("--frames", type=FILE, required=True, help="Frame table of stage decode.")
@click.option("--crops", type=FILE, required=True, help="Clip file to write.")
@device_options
def main(settings: CropSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.crop import crop_clip

    crop_clip(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
