"""Measure the driven models of one avatar, and baselines on the same frames."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.score import ScoreSettings


def main() -> None:
    parser = StageParser(__doc__, ScoreSettings)
    parser.add_argument("--driven", type=Path, required=True, help="outputs of stage drive")
    parser.add_argument("--identity-crops", type=Path, required=True, help="crops of the identity")
    parser.add_argument("--identity-mattes", type=Path, required=True, help="mattes of the identity")
    parser.add_argument("--driver-crops", type=Path, required=True, help="crops of the other person who drove")
    parser.add_argument("--driver-mattes", type=Path, required=True, help="mattes of the other person who drove")
    parser.add_argument("--scores", type=Path, required=True, help="CSV to write")
    parser.add_argument("--frame-scores", type=Path, required=True, help="CSV to write: errors by frame")
    arguments, (settings,) = parser.parse()

    from reenact.stages.score import score_avatar

    score_avatar(
        driven=arguments.driven,
        identity_crops=arguments.identity_crops,
        identity_mattes=arguments.identity_mattes,
        driver_crops=arguments.driver_crops,
        driver_mattes=arguments.driver_mattes,
        scores=arguments.scores,
        frame_scores=arguments.frame_scores,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
