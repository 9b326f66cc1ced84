"""Stage select: the iteration that becomes the avatar, by the rule of `tradeoff.judge`, or by the user's choice."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

from reenact.evaluation.metrics import METRICS
from reenact.evaluation.sweep import sweep_models
from reenact.evaluation.tradeoff import check, choose, judge
from reenact.reporting.plots import draw_sweep
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, write_text
from reenact.settings.select import SelectSettings


@dataclass(frozen=True)
class SelectOutputs:
    """What the stage writes.

    Attributes:
        model: the chosen model, a copy.
        table: CSV, a row an iteration: the columns of `judge`, all metrics of both protocols over all frames, and
            `selected`.
        plot: PNG, see `draw_sweep`.
        selected: JSON: iteration, chosen_by, reason, descriptor, scores, and what `check` returns.
    """

    model: Path
    table: Path
    plot: Path
    selected: Path


def select_model(
    *,
    scores: Path,
    frame_scores: Path,
    sweep: Path,
    outputs: SelectOutputs,
    wanted: int | str = "auto",
    settings: SelectSettings,
) -> None:
    """Choose an iteration, copy its model, and write down why.

    Args:
        scores, frame_scores: CSVs of stage score.
        sweep: folder of models named by iteration.
        outputs: files to write.
        wanted: auto, or the user's choice (`finetune.choose`).
        settings: of the stage.

    Raises:
        UserError: `wanted` is not of the sweep.
    """
    models = sweep_models(sweep)
    known = pd.read_csv(scores, dtype={"model": str})
    frames = pd.read_csv(frame_scores, dtype={"model": str, "part": str})
    rows = judge(by_iteration(known), frames, settings.identity_weight)
    choice = choose(rows, wanted)
    if choice.iteration not in models:
        raise UserError(f"{sweep}: no model of iteration {choice.iteration}, which {scores} has; run stage drive again")
    rows["selected"] = rows["iteration"] == choice.iteration
    with atomic_write(outputs.model) as temporary:
        shutil.copyfile(models[choice.iteration], temporary)
    write_text(outputs.table, rows.to_csv(index=False, float_format="%.6g"))
    with atomic_write(outputs.plot) as temporary:
        figure = draw_sweep(rows)
        FigureCanvasAgg(figure)
        figure.savefig(temporary, dpi=150)
    numbers = rows[rows["selected"]].iloc[0].drop(["iteration", "selected", "as_good", "pose_metric"])
    report = {
        "iteration": choice.iteration,
        "chosen_by": choice.chosen_by,
        "reason": choice.reason,
        "check": check(rows, choice.iteration),
        "descriptor": str(known["descriptor"].iloc[0]),
        "scores": {name: round(float(value), 6) for name, value in numbers.items() if pd.notna(value)},
    }
    write_text(outputs.selected, json.dumps(report, indent=2) + "\n")


def by_iteration(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of the models (not of the baselines), one row an iteration, columns `<protocol>_<metric>`."""
    models = scores[scores["model"].str.isdecimal()].assign(iteration=lambda t: t["model"].astype(int))
    wide = models.pivot(index="iteration", columns="protocol", values=METRICS)
    wide.columns = [f"{protocol}_{metric}" for metric, protocol in wide.columns]
    return wide.dropna(axis=1, how="all").reset_index().sort_values("iteration", ignore_index=True)
