"""Render a photo of a person doing what a driver does, at once: nothing is trained, and no project is made.

OUTPUT is an mp4, by default PHOTO.DRIVER.mp4 in this folder. It says that it is synthetic, as every rendering does:
`reenact verify OUTPUT`.
"""

from pathlib import Path
from typing import Any, get_args

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.runtime.errors import UserError
from reenact.settings.mark import Consent


@command(__doc__)
@click.argument("photo", type=FILE)
@click.argument("driver", type=FILE)
@click.argument("output", type=FILE, required=False)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="How much of the driver's beginning is followed, s; 0 = all of it.",
)
@click.option("--beside", is_flag=True, help="Show the photo and the driver beside the avatar.")
@click.option("--consent", type=click.Choice(get_args(Consent)), help="Why the person's face may be used.")
@device_options
def main(*, photo: Path, driver: Path, output: Path | None, **arguments: Any) -> None:
    output = output or Path(f"{photo.stem}.{driver.stem}.mp4")
    if output.suffix.lower() != ".mp4":
        raise UserError(f"{output}: must end in .mp4")
    for media in (photo, driver):
        if not media.exists():
            raise UserError(f"{media}: does not exist (paths are relative to {Path.cwd()})")

    from reenact.tools.try_avatar import try_pair

    try_pair(photo=photo, driver=driver, output=output, **arguments)
    print(f"{output}: done; `reenact new` makes a project, whose avatars are kept")


if __name__ == "__main__":
    run(main)
