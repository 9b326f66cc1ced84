"""Drive every model of a sweep with held-out frames."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.drive import DriveSettings


def main() -> None:
    parser = StageParser(__doc__, DriveSettings)
    parser.add_argument("--sweep", type=Path, required=True, help="folder of models of stage finetune")
    parser.add_argument(
        "--identity-crops", type=Path, required=True, help="crops of the identity (its held-out frames drive it)"
    )
    parser.add_argument("--driver-crops", type=Path, required=True, help="crops of another person, who drives it too")
    parser.add_argument("--driven", type=Path, required=True, help="clip file to write")
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.stages.drive import drive_sweep

    drive_sweep(
        sweep=arguments.sweep,
        identity_crops=arguments.identity_crops,
        driver_crops=arguments.driver_crops,
        driven=arguments.driven,
        device=arguments.device,
        threads=arguments.threads,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
