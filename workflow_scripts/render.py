"""Render one avatar following one driver, as videos."""

from pathlib import Path

from reenact.cli import StageParser, run
from reenact.render import render_pair
from reenact.settings.render import RenderSettings


def main() -> None:
    parser = StageParser(__doc__, RenderSettings)
    parser.add_argument("--model", type=Path, required=True, help="the avatar (.safetensors)")
    parser.add_argument("--driver-crops", type=Path, required=True, help="crops of the driver")
    parser.add_argument("--driver-media", type=Path, required=True, help="the driver's file, for its sound")
    parser.add_argument("--driver-source", type=Path, required=True, help="source.json of the driver, from stage decode")
    parser.add_argument("--video", type=Path, required=True, help="mp4 to write: the avatar")
    parser.add_argument("--side-by-side", type=Path, required=True, help="mp4 to write: driver and avatar")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()
    render_pair(
        model=arguments.model, driver_crops=arguments.driver_crops, driver_media=arguments.driver_media,
        driver_source=arguments.driver_source, video=arguments.video, side_by_side=arguments.side_by_side,
        device=arguments.device, threads=arguments.threads, settings=settings,
    )


if __name__ == "__main__":
    run(main)
