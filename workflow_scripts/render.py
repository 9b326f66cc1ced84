"""Render one avatar following one driver: videos, pictures with alpha, on a background, in the driver's frame."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.startup import quick_imports
from reenact.settings.mark import MarkSettings
from reenact.settings.render import RenderSettings


@command(__doc__, RenderSettings, MarkSettings)
@click.option("--model", type=FILE, required=True, help="The avatar, or a meta-model (.safetensors).")
@click.option("--identity-crops", type=FILE, help="Crops of the person: shown side by side; who a meta-model becomes.")
@click.option("--driver-crops", type=FILE, required=True, help="Crops of the driver.")
@click.option("--driver-media", type=FILE, required=True, help="The driver's file, for its sound and frames.")
@click.option("--driver-source", type=FILE, required=True, help="source.json of the driver, from stage decode.")
@click.option("--stem", type=FILE, required=True, help="Path of the outputs without suffix: STEM.mp4, STEM.json, ...")
@device_options
def main(
    settings: RenderSettings,
    mark: MarkSettings,
    *,
    driver_crops: Path,
    driver_media: Path,
    driver_source: Path,
    **arguments: Any,
) -> None:
    with quick_imports():
        from reenact.stages.render import DriverFiles, render_pair

    driver = DriverFiles(driver_crops, driver_media, driver_source)
    render_pair(**arguments, driver=driver, settings=settings, mark=mark)


if __name__ == "__main__":
    run(main)
