"""The rule that picks an iteration of a sweep: between identity and pose, robust to noise.

Too few iterations leave a gap to the person's identity, too many cost the expression (the published guide lets the user
save checkpoints and pick by eye). The rule, over the iterations >= 1:

1. Left out while others remain: iterations that could not be measured, that often show no face, or that tremble; and, by
   the errors of step 2, those that are less than `likeness` of the sweep's way from iteration 0, which is somebody else, to
   the least identity error (surely so, where that is not clearly lower). The last still count in steps 3 and 4.
2. Errors, on the part of the frames that is for selection: the identity error under cross-driving (self-driving where
   there is none), and the pose error under self-driving (photos: the motion error under cross-driving).
3. Noise: each value moves towards the straight line through its neighbours, weights 1-4-1 (at an end: the line of the
   neighbouring iteration), which leaves trends as they are.
4. Scale: each error from 0 at its least to 1 at its largest; an error that hardly varies is not stretched.
5. Combined score: identity_weight x identity + (1 - identity_weight) x pose. The least is the knee of the curve of the
   two scaled errors: there, a step further costs as much of one as it gains of the other.
6. Ties go to the fewer iterations: differences below `tie`, or below their own noise (but never above MOST_TIE). The
   noise is the standard deviation of the difference over DRAWS bootstrap draws of short runs of frames, the same runs
   for all iterations (Kuensch, *The Jackknife and the Bootstrap for General Stationary Observations*, 1989). Noise ties
   nobody whom the best beats in one error by more than that error's noise, at no cost in the other.

The same score, without step 3, on the other part of the frames, which took no part in this, tells how good the choice was.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reenact.data.sequence import CHECK, RUN_LENGTH, SELECT
from reenact.runtime.errors import UserError
from reenact.settings.select import SelectSettings

DRAWS = 200
MOST_TIE = 0.05
SURE = 0.95
"""Share of the draws in which an iteration has to be far from the person to be left out for it, where the whole sweep hardly gets nearer."""

ERRORS = {
    ("identity_error", "cross"): "identity error {:.3f} (driven by another person)",
    ("identity_error", "self"): "identity error {:.3f} (self-driven)",
    ("pose_error", "self"): "pose error {:.3f} (self-driven)",
    ("motion_error", "cross"): "motion error {:.3f} (driven by another person)",
}
"""(metric, protocol) of every error that may be weighed -> how it is told."""

IDENTITY = (("identity_error", "cross"), ("identity_error", "self"))
POSE = (("pose_error", "self"), ("motion_error", "cross"))
"""What stands for each side of the trade-off: the first that was measured."""


@dataclass(frozen=True)
class Choice:
    """The chosen iteration, whose choice it was (auto | user), and why in one sentence."""

    iteration: int
    chosen_by: str
    reason: str


def judge(rows: pd.DataFrame, frames: pd.DataFrame, settings: SelectSettings) -> pd.DataFrame:
    """Weigh identity against pose.

    Args:
        rows: one row an iteration: `iteration`, and at least <protocol>_failed and <protocol>_jitter.
        frames: errors by frame (`reenact.stages.score.FRAME_COLUMNS`), `model` being the iteration; other models are ignored.

    Returns:
        `rows` with these columns in front: iteration; identity_error, pose_error (selection's frames); identity_spread,
        pose_spread (standard error of the difference to the sweep's mean); combined (0 best; NaN where left out); tied (as good as the best); wins (share of
        the draws in which it is the best); left_out (why, or ''); check_identity_error, check_pose_error,
        check_combined (the other frames; NaN without).
    """
    models = rows["iteration"].tolist()
    sides = [_Side(frames, models, SELECT, names) for names in (IDENTITY, POSE)]
    checks = [_Side(frames, models, CHECK, names) for names in (IDENTITY, POSE)]
    rows = rows.assign(identity_error=sides[0].means(), pose_error=sides[1].means())
    rows["left_out"] = [_why_out(row, settings) for _, row in rows.iterrows()]
    measured = ((rows["iteration"] >= 1) & rows["identity_error"].notna() & rows["pose_error"].notna()).to_numpy()
    weighed = measured & (rows["left_out"] == "").to_numpy()
    weighed = weighed if weighed.any() else measured
    random = np.random.default_rng(0)
    draws = [side.draws(random) for side in sides]
    far = weighed & _far(draws[0], rows, weighed, settings)
    for i in rows.index[far & (rows["left_out"] == "")]:
        rows.loc[i, "left_out"] = f"unlike the person: identity error {rows.loc[i, 'identity_error']:.3f}"
    kept = weighed & ~far
    kept = kept if kept.any() else weighed
    rows["combined"] = np.where(
        kept, _combined(sides[0].means()[None], sides[1].means()[None], weighed, settings)[0], np.nan
    )
    # Frames that are hard for one iteration are hard for all: what matters is how surely iterations differ.
    rows["identity_spread"], rows["pose_spread"] = (_spread(draw, weighed) for draw in draws)
    combined = _combined(*draws, weighed, settings)
    rows["tied"], rows["wins"] = _ties(rows["combined"].to_numpy(), combined, kept, settings.tie)
    rows["tied"] &= ~_beaten(rows, settings.tie)
    rows["check_identity_error"], rows["check_pose_error"] = (check.means() for check in checks)
    check_combined = _combined(checks[0].means()[None], checks[1].means()[None], weighed, settings, smooth=False)[0]
    rows["check_combined"] = np.where(kept, check_combined, np.nan)
    first = [
        "iteration",
        "identity_error",
        "pose_error",
        "combined",
        "left_out",
        "identity_spread",
        "pose_spread",
        "tied",
        "wins",
        "check_identity_error",
        "check_pose_error",
        "check_combined",
    ]
    return rows[first + [name for name in rows if name not in first]]


class _Side:
    """One side of the trade-off on one part of the frames: sums and counts of its error, iterations x blocks."""

    def __init__(self, frames: pd.DataFrame, models: list[int], part: str, names: Iterable[tuple[str, str]]) -> None:
        frames = frames[(frames["part"] == part) & frames["model"].isin([str(model) for model in models])]
        self.name = next((name for name in names if _measured(frames, name)), None)
        if self.name is None:
            self.sums = self.counts = np.zeros((len(models), 1))
            return
        metric, protocol = self.name
        frames = frames[frames["protocol"] == protocol]
        # Neighbouring frames err alike, so that runs, not frames, are drawn; long runs are cut.
        step = frames.groupby(["model", "run"]).cumcount() // RUN_LENGTH
        table = frames.assign(block=[f"{run}/{k}" for run, k in zip(frames["run"], step)]).groupby(["model", "block"])[
            metric
        ]
        self.sums, self.counts = (
            getattr(table, what)().unstack().reindex([str(model) for model in models]).fillna(0).to_numpy(float)
            for what in ("sum", "count")
        )

    def means(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Mean error of each iteration (draws x iterations with weights, draws x blocks); NaN where nothing is measured."""
        weights = np.ones(self.sums.shape[1]) if weights is None else weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ self.sums.T) / (weights @ self.counts.T)

    def draws(self, random: np.random.Generator) -> np.ndarray:
        """Bootstrap: the means when blocks are drawn with replacement, DRAWS x iterations."""
        blocks = self.sums.shape[1]
        return self.means(random.multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS).astype(float))


def _measured(frames: pd.DataFrame, name: tuple[str, str]) -> bool:
    metric, protocol = name
    return bool(frames.loc[frames["protocol"] == protocol, metric].notna().any())


def _far(draws: np.ndarray, rows: pd.DataFrame, weighed: np.ndarray, settings: SelectSettings) -> np.ndarray:
    """Which iterations are less than `likeness` of the way from iteration 0 to the least identity error of the sweep.

    Surely so, where that is not clearly like the person. Where none is nearer to the person than iteration 0, those that are surely
    further; without iteration 0, none.

    Args:
        draws: identity errors, DRAWS x iterations.
        rows: with `iteration` and `identity_error`.
        weighed: the iterations that may set what is reached.
    """
    zero_shot = (rows["iteration"] == 0).to_numpy()
    if not zero_shot.any() or not weighed.any():
        return np.zeros(len(rows), bool)
    start = draws[:, zero_shot]
    nearest = rows["identity_error"].where(weighed | zero_shot).argmin()
    needed = 0.5 if like_the_person(rows, rows["identity_error"].iloc[nearest], settings) else SURE
    return (draws > start - settings.likeness * (start - draws[:, [nearest]])).mean(axis=0) >= needed


def _combined(
    identity: np.ndarray, pose: np.ndarray, kept: np.ndarray, settings: SelectSettings, smooth: bool = True
) -> np.ndarray:
    """Combined scores of draws x iterations; NaN but for the kept iterations."""
    result = np.full(identity.shape, np.nan)
    if kept.any():
        sides = [
            np.stack([_scale(_smooth(row) if smooth else row, settings.noise) for row in values[:, kept]])
            for values in (identity, pose)
        ]
        result[:, kept] = settings.identity_weight * sides[0] + (1 - settings.identity_weight) * sides[1]
    return result


def _spread(draws: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Standard deviation over draws of each iteration's difference to the mean of the kept ones; NaN without any."""
    if not kept.any():
        return np.full(len(kept), np.nan)
    return (draws - draws[:, kept].mean(axis=1, keepdims=True)).std(axis=0)


def _ties(combined: np.ndarray, draws: np.ndarray, kept: np.ndarray, tie: float) -> tuple[np.ndarray, np.ndarray]:
    """Which iterations are as good as the best, and the share of the draws in which each is the best."""
    tied, wins = np.zeros(len(kept), bool), np.full(len(kept), np.nan)
    if not kept.any():
        return tied, wins
    best = int(np.nanargmin(combined))
    draws = draws[:, kept]
    draws = draws[~np.isnan(draws).any(axis=1)]
    column = int(kept[:best].sum())
    noise = (draws - draws[:, column : column + 1]).std(axis=0) if len(draws) else np.zeros(kept.sum())
    tied[kept] = combined[kept] - combined[best] <= np.maximum(tie, np.minimum(noise, MOST_TIE))
    wins[kept] = np.bincount(draws.argmin(axis=1), minlength=kept.sum()) / max(len(draws), 1)
    return tied, wins


def _beaten(rows: pd.DataFrame, tie: float) -> pd.Series:
    """Which iterations, more than `tie` behind, the best one beats in one error by more than both their spreads, at no cost in the other."""
    if rows["combined"].isna().all():
        return pd.Series(False, rows.index)
    best = rows.loc[rows["combined"].idxmin()]
    gains = {error: rows[f"{error}_error"] - best[f"{error}_error"] for error in ("identity", "pose")}
    sure = [gain > rows[f"{error}_spread"] + best[f"{error}_spread"] for error, gain in gains.items()]
    return (
        (rows["combined"] - best["combined"] > tie)
        & (gains["identity"] >= 0)
        & (gains["pose"] >= 0)
        & (sure[0] | sure[1])
    )


def choose(rows: pd.DataFrame, wanted: int | str = "auto") -> Choice:
    """Apply the rule, or the user's choice.

    Args:
        rows: as `judge` returns.
        wanted: auto, or an iteration.

    Raises:
        UserError: the user's choice is not of the sweep.
    """
    sweep = rows["iteration"].tolist()
    if wanted != "auto":
        if wanted not in sweep:
            known = ", ".join(map(str, sweep))
            raise UserError(
                f"finetune.choose: there is no model of iteration {wanted}; allowed: auto, {known} "
                "(finetune.sweep names others)"
            )
        row = rows[rows["iteration"] == wanted].iloc[0]
        return Choice(int(wanted), "user", f"Set by finetune.choose; {_figures(row)}.")
    if sweep == [0]:
        return Choice(0, "auto", "The sweep is empty: the meta-model with the person's mean embedding, not fine-tuned.")
    kept = rows[rows["combined"].notna()]
    if kept.empty:
        # Still worth rendering: the pictures show what is wrong better than an error would.
        text = (
            f"No iteration could be judged, because no face was found in the outputs; {sweep[-1]}, the last, is taken."
        )
        return Choice(int(sweep[-1]), "auto", text)
    best = kept[kept["tied"]].iloc[0]
    return Choice(
        int(best["iteration"]), "auto", _explain(best, kept, rows[rows["combined"].isna() & (rows["iteration"] >= 1)])
    )


def like_the_person(rows: pd.DataFrame, identity_error: float, settings: SelectSettings) -> bool:
    """Whether an identity error is clearly, by `noise`, below that of iteration 0, which is somebody else; True without iteration 0."""
    start = rows.loc[rows["iteration"] == 0, "identity_error"]
    return not (identity_error > (1 - settings.noise) * start).any()


def check(rows: pd.DataFrame, iteration: int) -> dict[str, float] | None:
    """How good a choice is on the frames that took no part in it; None without such frames.

    Args:
        rows: as `judge` returns.
        iteration: the choice.

    Returns:
        `combined` of the choice, `best_iteration` and `best_combined` of the sweep, and `gap`, the difference: a share
        of what the two errors vary by over the sweep.
    """
    row, known = rows[rows["iteration"] == iteration].iloc[0], rows[rows["check_combined"].notna()]
    if known.empty or pd.isna(row["check_combined"]):
        return None
    best = known.loc[known["check_combined"].idxmin()]
    figures = {
        "combined": row["check_combined"],
        "best_combined": best["check_combined"],
        "gap": row["check_combined"] - best["check_combined"],
    }
    return {"best_iteration": int(best["iteration"])} | {
        name: round(float(value), 4) for name, value in figures.items()
    }


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
    """Mean of each value and its two neighbours, weights 1-4-1; ends so that a straight line stays as it is.

    No more than that: 1-2-1 would turn the bend of a sweep of three iterations into a straight line.
    """
    if len(values) < 3:
        return values
    smooth = np.convolve(values, np.array([1, 4, 1]) / 6, mode="same")
    smooth[0] = (5 * values[0] + 2 * values[1] - values[2]) / 6
    smooth[-1] = (5 * values[-1] + 2 * values[-2] - values[-3]) / 6
    return smooth


def _scale(values: np.ndarray, noise: float) -> np.ndarray:
    """0 at the least value, 1 at the largest (or at `noise` x mean above the least, where that is more)."""
    width = max(np.ptp(values), noise * float(np.mean(np.abs(values))), 1e-12)
    return (values - values.min()) / width


def _named(columns: Iterable[str], row: pd.Series) -> list[str]:
    """The two errors of a row in words; which metric they are follows from the protocols that were measured."""
    identity = IDENTITY[0] if "cross_identity_error" in columns else IDENTITY[1]
    pose = POSE[0] if "self_pose_error" in columns else POSE[1]
    pairs = ((identity, row["identity_error"]), (pose, row["pose_error"]))
    return [ERRORS[name].format(value) for name, value in pairs if pd.notna(value)]


def _figures(row: pd.Series) -> str:
    return ", ".join(_named(row.index, row)) or "not measured"


def _explain(best: pd.Series, kept: pd.DataFrame, out: pd.DataFrame) -> str:
    """One sentence with figures: the best of `kept`, and those left out."""
    if len(kept) == 1:
        text = f"Iteration {best['iteration']} is the only one that qualifies: {_figures(best)}"
    else:
        text = f"Iteration {best['iteration']} has the best balance of {len(kept)} iterations: {_figures(best)}"
        others = [
            f"{row['iteration']}: {row['combined']:.2f}"
            for _, row in kept.iterrows()
            if row["iteration"] != best["iteration"]
        ]
        text += f"; combined {best['combined']:.2f}, the others {', '.join(others)}"
        better = kept[kept["combined"] < best["combined"]]["iteration"].tolist()
        if better:
            text += f" ({', '.join(map(str, better))} better by no more than noise, so the fewest iterations win)"
        elif best["iteration"] == kept["iteration"].iloc[-1]:
            text += "; it is the last, so more iterations may be better still"
    if len(out):
        text += "; left out: " + ", ".join(f"{row['iteration']} ({row['left_out']})" for _, row in out.iterrows())
    if best["left_out"]:
        text += f"; every iteration has a fault, this one: {best['left_out']}"
    return text + "."
