"""Let a camera, or a video in its place, drive an avatar in a window or a virtual camera; latency is measured."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.live import LiveSettings


def main() -> None:
    parser = StageParser(__doc__, LiveSettings)
    parser.add_argument("--model", type=Path, required=True, help="the avatar, or a meta-model (.safetensors)")
    parser.add_argument("--identity-crops", type=Path, help="crops of the person that a meta-model becomes")
    parser.add_argument("--source", default="0", help="number of a camera, or a video that stands for one (default: 0)")
    parser.add_argument(
        "--output", default="window", help="window, virtual-camera, or the path of an mp4 (default: window)"
    )
    parser.add_argument("--seconds", type=float, help="stop after this long (default: when you quit)")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.tools.live import run_live

    run_live(
        model=arguments.model,
        identity_crops=arguments.identity_crops,
        source=arguments.source,
        output=arguments.output,
        seconds=arguments.seconds,
        device=arguments.device,
        threads=arguments.threads,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
