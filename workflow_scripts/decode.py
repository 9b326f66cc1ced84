"""List the frames of one clip with their exact times, and choose which are used for what."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.decode import DecodeSettings


@command(__doc__, DecodeSettings)
@click.option("--media", type=FILE, required=True, help="Video, image, folder of images, or folder of crops.")
@click.option("--frames", type=FILE, required=True, help="Frame table to write (.csv).")
@click.option("--source", type=FILE, required=True, help="What is known of the media, to write (.json).")
@click.option("--role", type=click.Choice(["identity", "driver"]), required=True, help="What the clip is for.")
@click.option("--start", help="Begin here: seconds from the first frame, 1:30, or 60% of the duration.")
@click.option("--end", help="Stop before this, likewise.")
@click.option(
    "--holdout",
    type=float,
    default=0.0,
    show_default=True,
    help="Last fraction of an identity's video that is kept for scoring, 0 to 1.",
)
@click.option("--threads", type=int, default=2, show_default=True, help="Threads of the decoder.")
def main(settings: DecodeSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.media.frame_table import Stretch
        from reenact.stages.decode import decode_clip

    stretch = Stretch(**{name: arguments.pop(name) for name in ("start", "end", "holdout")})
    decode_clip(**arguments, stretch=stretch, settings=settings)


if __name__ == "__main__":
    run(main)
