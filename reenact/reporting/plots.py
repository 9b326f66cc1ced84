"""Plots of a sweep and of a training, for light and for dark pages."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reenact.evaluation.tradeoff import pose_name


def draw_sweep(rows: pd.DataFrame, dark: bool = False) -> Figure:
    """Left: both errors by iteration, with standard errors. Right: their trade-off. The chosen point is marked.

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
    positions, labels = np.arange(len(rows)), [str(i) if i else "0\nzero-shot" for i in rows["iteration"]]
    right = left.twinx()
    for axis, side, title, colour, marker, shift in (
        (left, "identity", "identity error", colours[0], "o", -0.04),
        (right, "pose", pose_name(rows), colours[1], "s", 0.04),
    ):
        values, spread = rows[f"{side}_error"], rows[f"{side}_noise"].fillna(0)
        axis.errorbar(
            positions + shift,
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
    left.set_xticks(positions, labels)
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
    for iteration, across, up in zip(rows["iteration"], x, y, strict=True):
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
    axis.set_ylabel(pose_name(rows), color=ink)
    axis.tick_params(colors=ink)
    axis.margins(0.15)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, labelcolor=ink, frameon=False)


def _frame(axis: Axes, ink: str) -> None:
    for spine in axis.spines.values():
        spine.set_color(ink)
        spine.set_alpha(0.4)


def _widen(axis: Axes, minimum: float = 0.02) -> None:
    """Show at least `minimum` of the y axis, so that noise does not look like a trend."""
    low, high = axis.get_ylim()
    extra = max(0.0, minimum - (high - low)) / 2
    axis.set_ylim(low - extra, high + extra)


def draw_curves(table: pd.DataFrame, dark: bool = False) -> Figure:
    """One small plot for each column but `step` and `seconds`: each step faint, their running mean on top.

    Args:
        table: curves.csv of stage meta or finetune.
        dark: light lines on a dark ground.
    """
    ink, ground, colour = ("#d7dbe0", "#16191d", "#6ea8fe") if dark else ("#3a4048", "white", "#1f5fbf")
    columns = [name for name in table if name not in ("step", "seconds") and table[name].notna().any()]
    rows = -(-len(columns) // 4)
    figure = Figure(figsize=(10, 1.9 * rows), layout="constrained", facecolor=ground)
    for number, name in enumerate(columns):
        axis = figure.add_subplot(rows, 4, number + 1, facecolor=ground)
        known = table[["step", name]].dropna()
        axis.plot(known["step"], known[name], color=colour, linewidth=0.7, alpha=0.35)
        mean = known[name].rolling(max(1, len(known) // 25), center=True, min_periods=1).mean()
        axis.plot(known["step"], mean, color=colour, linewidth=1.6)
        axis.set_title(name.replace("_", " "), color=ink, fontsize=9)
        axis.tick_params(colors=ink, labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(ink)
    return figure
