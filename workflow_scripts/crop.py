"""Crop the tracked face of one clip to a square."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.crop import CropSettings


def main() -> None:
    parser = StageParser(__doc__, CropSettings)
    parser.add_argument("--media", type=Path, required=True, help="video, image, folder of images, or folder of crops")
    parser.add_argument("--frames", type=Path, required=True, help="frame table of stage decode")
    parser.add_argument("--crops", type=Path, required=True, help="clip file to write")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.stages.crop import crop_clip

    crop_clip(
        media=arguments.media,
        frames=arguments.frames,
        crops=arguments.crops,
        settings=settings,
        device=arguments.device,
        threads=arguments.threads,
    )


if __name__ == "__main__":
    run(main)
