"""Drive every model of a sweep with held-out frames."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.startup import quick_imports
from reenact.settings.drive import DriveSettings


@command(__doc__, DriveSettings)
@click.option("--sweep", type=FILE, required=True, help="Folder of models of stage finetune.")
@click.option("--identity-crops", type=FILE, required=True, help="Crops of the identity; its held-out frames drive it.")
@click.option("--driver-crops", type=FILE, required=True, help="Crops of another person, who drives it too.")
@click.option("--driven", type=FILE, required=True, help="Clip file to write.")
@device_options
def main(settings: DriveSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.drive import drive_sweep

    drive_sweep(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
