"""Morph between two poses of an avatar (--from-frame, --to-frame), or two people (--to-model, or a meta-model)."""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.settings.morph import MorphSettings


@command(__doc__, MorphSettings)
@click.option("--model", type=FILE, required=True, help="The avatar, or a meta-model (.safetensors).")
@click.option("--to-model", type=FILE, help="The avatar that it becomes, of the same meta-model.")
@click.option("--identity-crops", type=FILE, help="Crops of the person that a meta-model shows first.")
@click.option("--to-identity-crops", type=FILE, help="Crops of the person that it shows last.")
@click.option("--driver-crops", type=FILE, required=True, help="Crops of the driver.")
@click.option("--from-frame", type=int, help="Number of the driver's frame with the first pose.")
@click.option("--to-frame", type=int, help="Number of the driver's frame with the second pose.")
@click.option("--seconds", type=float, default=4.0, show_default=True, help="There and back, for two poses.")
@click.option("--video", type=FILE, required=True, help="mp4 to write.")
@device_options
def main(
    settings: MorphSettings, *, model: Path, from_frame: int | None, to_frame: int | None, **arguments: Any
) -> None:
    """Read the command line and morph."""
    from reenact.tools.morph import Person, morph_people, morph_poses

    others = {name: arguments.pop(name) for name in ("seconds", "to_model", "identity_crops", "to_identity_crops")}
    if from_frame is not None and to_frame is not None:
        frames = (from_frame, to_frame)
        morph_poses(**arguments, settings=settings, model=model, frames=frames, seconds=others["seconds"])
    else:
        start = Person(model, others["identity_crops"])
        end = Person(others["to_model"] or model, others["to_identity_crops"])
        morph_people(**arguments, settings=settings, start=start, end=end)


if __name__ == "__main__":
    run(main)
