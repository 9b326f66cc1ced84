"""Measure a whole table of avatars x drivers, as the published evaluation of 30 people; writes all scores and a summary.

The table is a CSV with the columns model, identity_crops, identity_mattes, driver_crops, driver_mattes (files, relative
to the table). A run that was killed goes on with the same command.
"""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.score import ScoreSettings


def main() -> None:
    parser = StageParser(__doc__, ScoreSettings)
    parser.add_argument("--table", type=Path, required=True, help="CSV of avatars and drivers")
    parser.add_argument(
        "--scores", type=Path, required=True, help="CSV to write: a row for every avatar, driver and protocol"
    )
    parser.add_argument("--summary", type=Path, required=True, help="CSV to write: mean and spread over avatars")
    parser.add_argument("--frames", type=int, help="most frames of each protocol (default: as many as published)")
    parser.add_argument("--batch-size", type=int, default=8, help="frames rendered at once (default: 8)")
    parser.add_argument(
        "--baselines", action="store_true", help="measure the mean image and the driver's own frames too"
    )
    parser.add_device_arguments()
    arguments, (settings,) = parser.parse()

    from reenact.tools.score_table import FRAMES, Plan, score_table

    score_table(
        table=arguments.table,
        scores=arguments.scores,
        summary=arguments.summary,
        device=arguments.device,
        threads=arguments.threads,
        plan=Plan(arguments.frames or FRAMES, arguments.batch_size, arguments.baselines),
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
