"""Make the mattes of one clip: how much of each pixel of its crops belongs to the person."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.startup import quick_imports
from reenact.settings.segment import SegmentSettings


@command(__doc__, SegmentSettings)
@click.option("--crops", type=FILE, required=True, help="Clip file of stage crop.")
@click.option("--mattes", type=FILE, required=True, help="Clip file to write.")
@device_options
def main(settings: SegmentSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.segment import segment_clip

    segment_clip(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
