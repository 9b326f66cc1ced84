"""Measure a whole table of avatars x drivers, as the published evaluation of 30 people.

Writes all scores and a summary.

The table is a CSV with the columns model, identity_crops, identity_mattes, driver_crops, driver_mattes (files, relative
to the table). A run that was killed goes on with the same command.
"""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, device_options, run
from reenact.settings.score import ScoreSettings


@command(__doc__, ScoreSettings)
@click.option("--table", type=FILE, required=True, help="CSV of avatars and drivers.")
@click.option("--scores", type=FILE, required=True, help="CSV to write: a row for every avatar, driver and protocol.")
@click.option("--summary", type=FILE, required=True, help="CSV to write: mean and spread over avatars.")
@click.option("--frames", type=int, default=32, show_default=True, help="Most frames of each protocol; published: 32.")
@click.option("--batch-size", type=int, default=8, show_default=True, help="Frames rendered at once.")
@click.option("--baselines", is_flag=True, help="Measure the mean image and the driver's own frames too.")
@device_options
def main(settings: ScoreSettings, *, frames: int, batch_size: int, baselines: bool, **arguments: Any) -> None:
    from reenact.tools.score_table import Plan, score_table

    score_table(**arguments, plan=Plan(frames, batch_size, baselines), settings=settings)


if __name__ == "__main__":
    run(main)
