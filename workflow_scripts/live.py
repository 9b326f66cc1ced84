"""Let a camera, or a video in its place, drive an avatar in a window or a virtual camera; latency is measured."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.settings.live import LiveSettings


@command(__doc__, LiveSettings)
@click.option("--model", type=FILE, required=True, help="The avatar, or a meta-model (.safetensors).")
@click.option("--identity-crops", type=FILE, help="Crops of the person that a meta-model becomes.")
@click.option("--source", default="0", show_default=True, help="Number of a camera, or a video that stands for one.")
@click.option("--output", default="window", show_default=True, help="window, virtual-camera, or the path of an mp4.")
@click.option("--seconds", type=float, help="Stop after this long; by default when you quit.")
@device_options
def main(settings: LiveSettings, **arguments: Any) -> None:
    from reenact.tools.live import run_live

    run_live(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
