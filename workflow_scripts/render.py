"""Render one avatar following one driver: videos, pictures with alpha, on a background, in the driver's frame."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.render import RenderSettings


def main() -> None:
    parser = StageParser(__doc__, RenderSettings)
    parser.add_argument("--model", type=Path, required=True, help="the avatar, or a meta-model (.safetensors)")
    parser.add_argument(
        "--identity-crops", type=Path, help="crops of the person: shown side by side; who a meta-model becomes"
    )
    parser.add_argument("--driver-crops", type=Path, required=True, help="crops of the driver")
    parser.add_argument("--driver-media", type=Path, required=True, help="the driver's file, for its sound and frames")
    parser.add_argument(
        "--driver-source", type=Path, required=True, help="source.json of the driver, from stage decode"
    )
    parser.add_argument(
        "--stem", type=Path, required=True, help="path of the outputs without suffix: STEM.mp4, STEM.alpha.mov, ..."
    )
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.stages.render import DriverFiles, render_pair

    render_pair(
        model=arguments.model,
        identity_crops=arguments.identity_crops,
        driver=DriverFiles(arguments.driver_crops, arguments.driver_media, arguments.driver_source),
        stem=arguments.stem,
        device=arguments.device,
        threads=arguments.threads,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
