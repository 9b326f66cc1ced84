"""Make the mattes of one clip: how much of each pixel of its crops belongs to the person."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.segment import SegmentSettings


def main() -> None:
    parser = StageParser(__doc__, SegmentSettings)
    parser.add_argument("--crops", type=Path, required=True, help="clip file of stage crop")
    parser.add_argument("--mattes", type=Path, required=True, help="clip file to write")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.stages.segment import segment_clip

    segment_clip(
        crops=arguments.crops,
        mattes=arguments.mattes,
        settings=settings,
        device=arguments.device,
        threads=arguments.threads,
    )


if __name__ == "__main__":
    run(main)
