"""Stage select: the iteration of the sweep that becomes the avatar.

Too few iterations leave a gap to the person's identity, too many cost the mimics (the published guide lets the user
save checkpoints and pick by eye). The rule, over the iterations >= 1:

1. Left out while others remain: iterations that could not be measured, that often show no face, or that tremble.
2. Errors: the identity error under cross-driving (self-driving where there is none), and the pose error under
   self-driving (photos: the motion error under cross-driving).
3. Noise: each value is replaced by that of a straight line through it and its neighbours, weights 1-2-1 (at an end:
   the line of the neighbouring iteration), which leaves trends as they are.
4. Scale: each error from 0 at its least to 1 at its largest; an error that hardly varies is not stretched.
5. Combined score: identity_weight x identity + (1 - identity_weight) x pose. The least wins; near ties go to the
   fewer iterations.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reenact.errors import UserError
from reenact.files import write_text, written_whole
from reenact.settings.select import SelectSettings
from reenact.sweep import sweep_models

METRICS = ["failed", "identity_error", "pose_error", "motion_error", "psnr", "ssim", "perceptual", "jitter", "matte_iou"]

ERRORS = {
    "cross_identity_error": "identity error {:.3f} (driven by another person)",
    "self_identity_error": "identity error {:.3f} (self-driven)",
    "self_pose_error": "pose error {:.3f} (self-driven)",
    "cross_motion_error": "motion error {:.3f} (driven by another person)",
}


@dataclass(frozen=True)
class Choice:
    """The chosen iteration, whose choice it was (auto | user), and why in one sentence."""

    iteration: int
    chosen_by: str
    reason: str


def select_model(
    *, scores: Path, sweep: Path, model: Path, table: Path, plot: Path, selected: Path, settings: SelectSettings
) -> None:
    """Choose an iteration, copy its model, and write down why.

    Args:
        scores: CSV of stage score.
        sweep: folder of models named by iteration.
        model: the chosen model, a copy.
        table: CSV to write, a row an iteration: both errors of the trade-off, the combined score, why it was left out,
            all metrics of both protocols, and `selected`.
        plot: PNG to write, both errors against the iteration.
        selected: JSON to write: iteration, chosen_by, reason, scores.

    Raises:
        UserError: `select.choose` is not of the sweep.
    """
    models = sweep_models(sweep)
    rows = combine(by_iteration(pd.read_csv(scores, dtype={"model": str})), settings)
    choice = choose(rows, settings)
    if choice.iteration not in models:
        raise UserError(f"{sweep}: no model of iteration {choice.iteration}, which {scores} has; run stage drive again")
    rows["selected"] = rows["iteration"] == choice.iteration
    with written_whole(model) as temporary:
        shutil.copyfile(models[choice.iteration], temporary)
    write_text(table, rows.to_csv(index=False, float_format="%.6g"))
    with written_whole(plot) as temporary:
        figure = draw_sweep(rows)
        FigureCanvasAgg(figure)
        figure.savefig(temporary, dpi=150)
    facts = rows[rows["selected"]].iloc[0].drop(["iteration", "selected", "left_out"])
    values = {name: round(float(value), 6) for name, value in facts.items() if pd.notna(value)}
    report = {"iteration": choice.iteration, "chosen_by": choice.chosen_by, "reason": choice.reason, "scores": values}
    write_text(selected, json.dumps(report, indent=2) + "\n")


def by_iteration(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of the models (not of the baselines), one row an iteration, columns `<protocol>_<metric>`."""
    models = scores[scores["model"].str.isdecimal()].assign(iteration=lambda t: t["model"].astype(int))
    wide = models.pivot(index="iteration", columns="protocol", values=METRICS)
    wide.columns = [f"{protocol}_{metric}" for metric, protocol in wide.columns]
    return wide.dropna(axis=1, how="all").reset_index().sort_values("iteration", ignore_index=True)


def combine(rows: pd.DataFrame, settings: SelectSettings) -> pd.DataFrame:
    """Add the trade-off: identity_error, pose_error, combined (0 best; NaN where left out), left_out (why, or '').

    Args:
        rows: as `by_iteration` returns.
    """
    rows = rows.assign(**{name: rows[column] if column else np.nan for name, column in sources(rows.columns).items()})
    rows["left_out"] = [_why_out(row, settings) for _, row in rows.iterrows()]
    measured = (rows["iteration"] >= 1) & rows["identity_error"].notna() & rows["pose_error"].notna()
    kept = measured & (rows["left_out"] == "")
    kept = kept if kept.any() else measured
    rows["combined"] = np.nan
    if kept.any():
        identity, pose = (_scale(_smooth(rows.loc[kept, name].to_numpy()), settings.noise) for name in ("identity_error", "pose_error"))
        rows.loc[kept, "combined"] = settings.identity_weight * identity + (1 - settings.identity_weight) * pose
    first = ["iteration", "identity_error", "pose_error", "combined", "left_out"]
    return rows[first + [name for name in rows if name not in first]]


def choose(rows: pd.DataFrame, settings: SelectSettings) -> Choice:
    """Apply the rule, or the user's choice.

    Args:
        rows: as `combine` returns.

    Raises:
        UserError: the user's choice is not of the sweep.
    """
    sweep = rows["iteration"].tolist()
    if settings.choose != "auto":
        if settings.choose not in sweep:
            known = ", ".join(map(str, sweep))
            raise UserError(f"select.choose: {settings.choose} is not an iteration of the sweep; allowed: auto, {known}")
        row = rows[rows["iteration"] == settings.choose].iloc[0]
        return Choice(int(settings.choose), "user", f"Set by select.choose; {_figures(row)}.")
    kept = rows[rows["combined"].notna()]
    if kept.empty:
        # Still worth rendering: the pictures show what is wrong better than an error would.
        text = f"No iteration could be judged, because no face was found in the outputs; {sweep[-1]}, the last, is taken."
        return Choice(int(sweep[-1]), "auto", text)
    best = kept[kept["combined"] <= kept["combined"].min() + settings.tie].iloc[0]
    return Choice(int(best["iteration"]), "auto", _explain(best, kept, rows[rows["combined"].isna() & (rows["iteration"] >= 1)]))


def sources(columns: Iterable[str]) -> dict[str, str | None]:
    """Which columns are weighed against each other: cross-driving's identity error, self-driving's pose error, or else."""
    choices = {
        "identity_error": ("cross_identity_error", "self_identity_error"),
        "pose_error": ("self_pose_error", "cross_motion_error"),
    }
    return {name: next((column for column in wanted if column in columns), None) for name, wanted in choices.items()}


def _why_out(row: pd.Series, settings: SelectSettings) -> str:
    """Why an iteration should not be chosen while others remain; '' = no objection."""
    if row["iteration"] == 0:
        return "not fine-tuned"
    if pd.isna(row["identity_error"]) or pd.isna(row["pose_error"]):
        return "not measurable"
    failed = max(row.get("self_failed", 0), row.get("cross_failed", 0))
    if failed > settings.max_failed:
        return f"no face in {failed:.0%} of the frames"
    trembling = [row[name] for name in ("self_jitter", "cross_jitter") if pd.notna(row.get(name))]
    if trembling and max(trembling) > settings.max_jitter:
        return f"jitter {max(trembling):.1f} x the driver's"
    return ""


def _smooth(values: np.ndarray) -> np.ndarray:
    """Straight-line fit through each value and its two neighbours, weights 1-2-1; ends lie on their neighbour's line."""
    if len(values) < 3:
        return values
    smooth = np.convolve(values, [0.25, 0.5, 0.25], mode="same")
    smooth[0] = (3 * values[0] + 2 * values[1] - values[2]) / 4
    smooth[-1] = (3 * values[-1] + 2 * values[-2] - values[-3]) / 4
    return smooth


def _scale(values: np.ndarray, noise: float) -> np.ndarray:
    """0 at the least value, 1 at the largest (or at `noise` x mean above the least, where that is more)."""
    width = max(np.ptp(values), noise * float(np.mean(np.abs(values))), 1e-12)
    return (values - values.min()) / width


def _figures(row: pd.Series) -> str:
    """The two errors in words; `row` is a row of the table, whose index has its columns."""
    named = sources(row.index).items()
    shown = [ERRORS[column].format(row[name]) for name, column in named if column and pd.notna(row[name])]
    return ", ".join(shown) or "not measured"


def _explain(best: pd.Series, kept: pd.DataFrame, out: pd.DataFrame) -> str:
    """One sentence with figures: the best of `kept`, and those left out."""
    if len(kept) == 1:
        text = f"Iteration {best['iteration']} is the only one that qualifies: {_figures(best)}"
    else:
        text = f"Iteration {best['iteration']} has the best balance of {len(kept)} iterations: {_figures(best)}"
        text += f"; combined {best['combined']:.2f}, the others {', '.join(_others(best, kept))}"
    if len(out):
        text += "; left out: " + ", ".join(f"{row['iteration']} ({row['left_out']})" for _, row in out.iterrows())
    if best["left_out"]:
        text += f"; every iteration has a fault, this one: {best['left_out']}"
    return text + "."


def _others(best: pd.Series, kept: pd.DataFrame) -> list[str]:
    return [f"{row['iteration']}: {row['combined']:.2f}" for _, row in kept.iterrows() if row["iteration"] != best["iteration"]]


def draw_sweep(rows: pd.DataFrame, dark: bool = False) -> Figure:
    """Both errors against the iteration, the zero-shot model included, the chosen point marked.

    Args:
        rows: the table of `select_model`, with `selected`.
        dark: light lines on a dark ground.
    """
    ink, ground = ("#d7dbe0", "#16191d") if dark else ("#3a4048", "white")
    colours = ("#6ea8fe", "#f2a65a") if dark else ("#1f5fbf", "#c2611f")
    figure = Figure(figsize=(6.4, 3.4), layout="constrained", facecolor=ground)
    left = figure.add_subplot(facecolor=ground)
    # Positions, not iterations: a sweep is roughly geometric and starts at 0.
    places, labels = range(len(rows)), [str(i) if i else "0\nzero-shot" for i in rows["iteration"]]
    chosen = int(np.flatnonzero(rows["selected"])[0])
    for axis, name, title, colour, marker in (
        (left, "identity_error", "identity error", colours[0], "o"), (left.twinx(), "pose_error", _pose_title(rows), colours[1], "s"),
    ):
        axis.plot(places, rows[name], color=colour, marker=marker, markersize=5, linewidth=1.6)
        axis.plot(chosen, rows[name].iloc[chosen], marker=marker, markersize=12, markerfacecolor="none", markeredgewidth=1.8, color=colour)
        axis.set_ylabel(title, color=colour)
        axis.tick_params(colors=colour, which="both")
        axis.margins(x=0.06, y=0.15)
        _widen(axis)
        axis.spines[["top"]].set_visible(False)
        for spine in axis.spines.values():
            spine.set_color(ink)
            spine.set_alpha(0.4)
    left.axvline(chosen, color=ink, linewidth=1, linestyle=":", zorder=0)
    left.set_xticks(places, labels)
    left.tick_params(axis="x", colors=ink)
    left.set_xlabel("fine-tuning iterations", color=ink)
    left.set_title(f"chosen: {rows['iteration'].iloc[chosen]}", color=ink, fontsize=10)
    return figure


def _widen(axis: Axes, least: float = 0.02) -> None:
    """Show at least `least` of the y axis, so that noise does not look like a trend."""
    low, high = axis.get_ylim()
    extra = max(0.0, least - (high - low)) / 2
    axis.set_ylim(low - extra, high + extra)


def _pose_title(rows: pd.DataFrame) -> str:
    return "pose error" if "self_pose_error" in rows else "motion error"
