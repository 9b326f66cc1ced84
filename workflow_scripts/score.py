"""Measure the driven models of one avatar, and baselines on the same frames."""

from typing import Any

import click

from reenact.runtime.cli import FILE, command, run
from reenact.runtime.startup import quick_imports
from reenact.settings.score import ScoreSettings


@command(__doc__, ScoreSettings)
@click.option("--driven", type=FILE, required=True, help="Outputs of stage drive.")
@click.option("--identity-crops", type=FILE, required=True, help="Crops of the identity.")
@click.option("--identity-mattes", type=FILE, required=True, help="Mattes of the identity.")
@click.option("--driver-crops", type=FILE, required=True, help="Crops of the other person who drove.")
@click.option("--driver-mattes", type=FILE, required=True, help="Mattes of the other person who drove.")
@click.option("--scores", type=FILE, required=True, help="CSV to write.")
@click.option("--frame-scores", type=FILE, required=True, help="CSV to write: errors by frame.")
def main(settings: ScoreSettings, **arguments: Any) -> None:
    with quick_imports():
        from reenact.stages.score import score_avatar

    score_avatar(**arguments, settings=settings)


if __name__ == "__main__":
    run(main)
