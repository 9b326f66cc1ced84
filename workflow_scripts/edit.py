"""Move an avatar's controls by name: a still (--picture), or a video that follows a driver (--driver-crops, --video).

For example: --set smile=0.5 yaw=10. --list shows what there is.
"""

from pathlib import Path
from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.settings.edit import EditSettings


@command(__doc__, EditSettings)
@click.option("--model", type=FILE, required=True, help="The avatar (.safetensors).")
@click.option("--set", "moved", multiple=True, metavar="NAME=VALUE", help="Controls and how far they are moved.")
@click.option(
    "--list", "listed", is_flag=True, help="Print the controls, their ranges and how well they work, and stop."
)
@click.option("--picture", type=FILE, help="PNG to write: the person's own face.")
@click.option("--driver-crops", type=FILE, help="Crops of the driver, for a video.")
@click.option("--video", type=FILE, help="mp4 to write.")
@device_options
def main(
    settings: EditSettings,
    *,
    model: Path,
    moved: tuple[str, ...],
    listed: bool,
    picture: Path | None,
    driver_crops: Path | None,
    video: Path | None,
    **machine: Any,
) -> None:
    from reenact.runtime.errors import UserError
    from reenact.tools.edit import edit_still, edit_video, offered

    if listed:
        print("control       from    to  unit     correlation  leak (into)  identity")
        for c in offered(model).values():
            leak = f"{c.leak:.2f} ({c.leaks_to})"
            print(f"{c.name:12} {c.low:5g} {c.high:5g}  {c.unit:8} {c.correlation:11.2f}  {leak:20} {c.identity:+.3f}")
        return
    if bool(picture) == bool(video) or bool(video) != bool(driver_crops):
        raise UserError("give --picture PATH.png, or --driver-crops CROPS and --video PATH.mp4")
    values = dict(_value(text) for text in moved)
    if picture:
        edit_still(model=model, values=values, picture=picture, settings=settings, **machine)
    elif video and driver_crops:
        edit_video(model=model, values=values, driver_crops=driver_crops, video=video, settings=settings, **machine)


def _value(text: str) -> tuple[str, float]:
    """NAME=VALUE as a pair."""
    from reenact.runtime.errors import UserError

    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise UserError(f"--set {text}: write NAME=VALUE, such as smile=0.5") from None


if __name__ == "__main__":
    run(main)
