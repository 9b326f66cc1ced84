"""Stage select: the iteration of the sweep that becomes the avatar, by the rule of `reenact.evaluation.tradeoff`, or the user's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reenact.evaluation.metrics import METRICS
from reenact.evaluation.sweep import sweep_models
from reenact.evaluation.tradeoff import check, choose, judge
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write, write_text
from reenact.settings.select import SelectSettings


def select_model(
    *,
    scores: Path,
    frame_scores: Path,
    sweep: Path,
    model: Path,
    table: Path,
    plot: Path,
    selected: Path,
    wanted: int | str = "auto",
    settings: SelectSettings,
) -> None:
    """Choose an iteration, copy its model, and write down why.

    Args:
        scores, frame_scores: CSVs of stage score.
        sweep: folder of models named by iteration.
        model: the chosen model, a copy.
        table: CSV to write, a row an iteration: the columns of `reenact.evaluation.tradeoff.judge`, all metrics of both protocols
            over all frames, and `selected`.
        plot: PNG to write, see `draw_sweep`.
        selected: JSON to write: iteration, chosen_by, reason, descriptor, scores, and `check` (`reenact.evaluation.tradeoff.check`).
        wanted: auto, or the user's choice (`finetune.choose`).

    Raises:
        UserError: `wanted` is not of the sweep.
    """
    models = sweep_models(sweep)
    known = pd.read_csv(scores, dtype={"model": str})
    rows = judge(
        by_iteration(known), pd.read_csv(frame_scores, dtype={"model": str, "part": str, "run": str}), settings
    )
    choice = choose(rows, wanted)
    if choice.iteration not in models:
        raise UserError(f"{sweep}: no model of iteration {choice.iteration}, which {scores} has; run stage drive again")
    rows["selected"] = rows["iteration"] == choice.iteration
    with atomic_write(model) as temporary:
        shutil.copyfile(models[choice.iteration], temporary)
    write_text(table, rows.to_csv(index=False, float_format="%.6g"))
    with atomic_write(plot) as temporary:
        figure = draw_sweep(rows)
        FigureCanvasAgg(figure)
        figure.savefig(temporary, dpi=150)
    facts = rows[rows["selected"]].iloc[0].drop(["iteration", "selected", "left_out", "tied"])
    report = {
        "iteration": choice.iteration,
        "chosen_by": choice.chosen_by,
        "reason": choice.reason,
        "check": check(rows, choice.iteration),
        "descriptor": str(known["descriptor"].iloc[0]),
        "scores": {name: round(float(value), 6) for name, value in facts.items() if pd.notna(value)},
    }
    write_text(selected, json.dumps(report, indent=2) + "\n")


def by_iteration(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of the models (not of the baselines), one row an iteration, columns `<protocol>_<metric>`."""
    models = scores[scores["model"].str.isdecimal()].assign(iteration=lambda t: t["model"].astype(int))
    wide = models.pivot(index="iteration", columns="protocol", values=METRICS)
    wide.columns = [f"{protocol}_{metric}" for metric, protocol in wide.columns]
    return wide.dropna(axis=1, how="all").reset_index().sort_values("iteration", ignore_index=True)


def draw_sweep(rows: pd.DataFrame, dark: bool = False) -> Figure:
    """Left: both errors against the iteration, with standard errors. Right: their trade-off. The chosen point is marked.

    Args:
        rows: the table of `select_model`, with `selected`.
        dark: light lines on a dark ground.
    """
    ink, ground = ("#d7dbe0", "#16191d") if dark else ("#3a4048", "white")
    colours = ("#6ea8fe", "#f2a65a") if dark else ("#1f5fbf", "#c2611f")
    figure = Figure(figsize=(9.6, 3.6), layout="constrained", facecolor=ground)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    chosen = int(np.flatnonzero(rows["selected"])[0])
    _draw_errors(left, rows, chosen, colours, ink)
    _draw_trade_off(right, rows, chosen, colours, ink)
    for axis in (left, right):
        axis.set_facecolor(ground)
    left.set_title(f"chosen: {rows['iteration'].iloc[chosen]}", color=ink, fontsize=10)
    right.set_title("trade-off: towards the lower left is better", color=ink, fontsize=10)
    return figure


def _draw_errors(left: Axes, rows: pd.DataFrame, chosen: int, colours: tuple[str, str], ink: str) -> None:
    # Positions, not iterations: a sweep is roughly geometric and starts at 0.
    places, labels = np.arange(len(rows)), [str(i) if i else "0\nzero-shot" for i in rows["iteration"]]
    right = left.twinx()
    for axis, side, title, colour, marker, shift in (
        (left, "identity", "identity error", colours[0], "o", -0.04),
        (right, "pose", _pose_title(rows), colours[1], "s", 0.04),
    ):
        values, spread = rows[f"{side}_error"], rows[f"{side}_spread"].fillna(0)
        axis.errorbar(
            places + shift,
            values,
            spread,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=3,
        )
        axis.plot(
            chosen + shift,
            values.iloc[chosen],
            marker=marker,
            markersize=12,
            markerfacecolor="none",
            markeredgewidth=1.8,
            color=colour,
        )
        axis.set_ylabel(title, color=colour)
        axis.tick_params(colors=colour, which="both")
        axis.margins(x=0.06, y=0.15)
        _widen(axis)
        _frame(axis, ink)
        axis.spines[["top"]].set_visible(False)
    left.axvline(chosen, color=ink, linewidth=1, linestyle=":", zorder=0)
    left.set_xticks(places, labels)
    left.tick_params(axis="x", colors=ink)
    left.set_xlabel("fine-tuning iterations", color=ink)


def _draw_trade_off(axis: Axes, rows: pd.DataFrame, chosen: int, colours: tuple[str, str], ink: str) -> None:
    """Pose error against identity error along the sweep; faint: on the frames that took no part in the choice."""
    _frame(axis, ink)
    axis.spines[["top", "right"]].set_visible(False)
    for prefix, alpha, label in (("check_", 0.35, "frames kept for the check"), ("", 1.0, "frames of the choice")):
        x, y = rows[f"{prefix}identity_error"], rows[f"{prefix}pose_error"]
        if x.notna().any() and y.notna().any():
            axis.plot(x, y, color=ink, alpha=alpha, linewidth=1.2, marker=".", markersize=7, label=label)
    x, y = rows["identity_error"], rows["pose_error"]
    for iteration, across, up in zip(rows["iteration"], x, y):
        if pd.notna(across) and pd.notna(up):
            axis.annotate(
                str(iteration), (across, up), xytext=(5, 5), textcoords="offset points", color=ink, fontsize=8
            )
    axis.plot(
        x.iloc[chosen],
        y.iloc[chosen],
        marker="o",
        markersize=12,
        markerfacecolor="none",
        markeredgewidth=1.8,
        color=colours[0],
    )
    axis.set_xlabel("identity error", color=ink)
    axis.set_ylabel(_pose_title(rows), color=ink)
    axis.tick_params(colors=ink)
    axis.margins(0.15)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, labelcolor=ink, frameon=False)


def _frame(axis: Axes, ink: str) -> None:
    for spine in axis.spines.values():
        spine.set_color(ink)
        spine.set_alpha(0.4)


def _widen(axis: Axes, least: float = 0.02) -> None:
    """Show at least `least` of the y axis, so that noise does not look like a trend."""
    low, high = axis.get_ylim()
    extra = max(0.0, least - (high - low)) / 2
    axis.set_ylim(low - extra, high + extra)


def _pose_title(rows: pd.DataFrame) -> str:
    return "pose error" if "self_pose_error" in rows else "motion error"
