"""Morph between two poses of an avatar (--from-frame, --to-frame), or between two people (--to-model, or a meta-model)."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.render import RenderSettings


def main() -> None:
    parser = StageParser(__doc__, RenderSettings)
    parser.add_argument("--model", type=Path, required=True, help="the avatar, or a meta-model (.safetensors)")
    parser.add_argument("--to-model", type=Path, help="the avatar that it becomes, of the same meta-model")
    parser.add_argument("--identity-crops", type=Path, help="crops of the person that a meta-model shows first")
    parser.add_argument("--to-identity-crops", type=Path, help="crops of the person that it shows last")
    parser.add_argument("--driver-crops", type=Path, required=True, help="crops of the driver")
    parser.add_argument("--from-frame", type=int, help="number of the driver's frame with the first pose")
    parser.add_argument("--to-frame", type=int, help="number of the driver's frame with the second pose")
    parser.add_argument("--seconds", type=float, default=4.0, help="there and back, for two poses (default: 4)")
    parser.add_argument("--video", type=Path, required=True, help="mp4 to write")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.tools.morph import Person, morph_people, morph_poses

    common = dict(
        driver_crops=arguments.driver_crops,
        video=arguments.video,
        device=arguments.device,
        threads=arguments.threads,
        settings=settings,
    )
    if arguments.from_frame is not None and arguments.to_frame is not None:
        morph_poses(
            **common,
            model=arguments.model,
            frames=(arguments.from_frame, arguments.to_frame),
            seconds=arguments.seconds,
        )
    else:
        morph_people(
            **common,
            start=Person(arguments.model, arguments.identity_crops),
            end=Person(arguments.to_model or arguments.model, arguments.to_identity_crops),
        )


if __name__ == "__main__":
    run(main)
