"""Choose the iteration of a sweep that becomes the avatar."""

from pathlib import Path

from reenact.runtime.cli import StageParser, run
from reenact.settings.select import SelectSettings


def iteration(text: str) -> int | str:
    """What --choose takes."""
    return text if text == "auto" else int(text)


def main() -> None:
    parser = StageParser(__doc__, SelectSettings)
    parser.add_argument("--scores", type=Path, required=True, help="CSV of stage score")
    parser.add_argument("--frame-scores", type=Path, required=True, help="CSV of stage score, by frame")
    parser.add_argument("--sweep", type=Path, required=True, help="folder of models of stage finetune")
    parser.add_argument("--model", type=Path, required=True, help="chosen model to write")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write: both errors by iteration")
    parser.add_argument("--plot", type=Path, required=True, help="PNG to write: the same as a plot")
    parser.add_argument("--selected", type=Path, required=True, help="JSON to write: the choice and why")
    parser.add_argument(
        "--choose", type=iteration, default="auto", help="auto, or an iteration of the sweep (finetune.choose)"
    )
    arguments, (settings,) = parser.parse()

    from reenact.stages.select import select_model

    select_model(
        scores=arguments.scores,
        frame_scores=arguments.frame_scores,
        sweep=arguments.sweep,
        model=arguments.model,
        table=arguments.table,
        plot=arguments.plot,
        selected=arguments.selected,
        wanted=arguments.choose,
        settings=settings,
    )


if __name__ == "__main__":
    run(main)
