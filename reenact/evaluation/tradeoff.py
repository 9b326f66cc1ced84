"""The rule that picks an iteration of a sweep.

Too few iterations leave a gap to the person's identity, too many cost the expression; the published guide lets the user
save checkpoints and pick by eye. Here two errors are weighed against each other, each in units of its own noise, so
that what the frames cannot tell apart decides nothing. The frames of the part CHECK take no part in it; they tell how
good the choice was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reenact.data.sequence import CHECK, RUN_LENGTH, SELECT
from reenact.runtime.errors import UserError

ERRORS = {
    "identity": (("identity_error", "cross"), ("identity_error", "self")),
    "pose": (("pose_error", "self"), ("motion_error", "cross")),
}
"""Side of the trade-off -> (metric, protocol) of its error: the first that was measured."""

MAX_FAILED = 0.2
"""A model is no candidate if a larger share of its frames shows no face."""

MIN_RUNS = 4
"""Where there are not so many runs of neighbouring frames, shorter ones are made of them."""


@dataclass(frozen=True)
class Choice:
    """The chosen iteration, whose choice it was (auto | user), and why in one sentence."""

    iteration: int
    chosen_by: str
    reason: str


def judge(rows: pd.DataFrame, frames: pd.DataFrame, identity_weight: float) -> pd.DataFrame:
    """Judge every iteration of a sweep, on the frames that are for selection.

    1. Errors: identity, driven by another person; pose, driven by the person's own held-out frames (a photo has none:
       motion, driven by another person). A model without a face in more than MAX_FAILED of the frames is out.
    2. Each is divided by its noise: the standard error, over runs of frames, of its differences between iterations.
    3. Combined: identity_weight x identity error + (1 - identity_weight) x pose error.
    4. Chosen are the fewest iterations that are within one standard error of the best combined in both errors (Breiman
       et al., *Classification and Regression Trees*, 1984). Iteration 0, no fine-tuning, is a candidate like any other.

    Args:
        rows: `iteration`, and whatever else the table shall show.
        frames: errors by frame (`reenact.stages.score.FRAME_COLUMNS`), `model` being the iteration; others are ignored.
        identity_weight: 0 to 1.

    Returns:
        `rows` with these columns in front: iteration; identity_error, pose_error; identity_noise,
        pose_noise (standard error of the difference to the candidates' mean); combined (above the best, in units of
        noise; NaN = out); as_good (in both errors within one standard error of the best); no_face (share of frames);
        check_identity_error, check_pose_error (on the other frames; NaN without); pose_metric (which error pose is).
    """
    frames = frames[frames["model"].isin(rows["iteration"].astype(str))]
    frames = frames.assign(iteration=frames["model"].astype(int))
    selection, check = (frames[frames["part"] == part] for part in (SELECT, CHECK))
    table = pd.DataFrame(index=pd.Index(rows["iteration"]))
    table["no_face"] = selection.groupby(["iteration", "protocol"])["failed"].mean().groupby("iteration").max()
    metrics = {side: _measured(selection, names) for side, names in ERRORS.items()}
    table["pose_metric"] = metrics["pose"][0]
    for side, name in metrics.items():
        table[f"{side}_error"], table[f"check_{side}_error"] = mean_error(selection, *name), mean_error(check, *name)
    measured = table[["identity_error", "pose_error"]].notna().all(axis=1)
    candidates = table.index[measured & (table["no_face"] <= MAX_FAILED)]

    weights = {"identity": identity_weight, "pose": 1 - identity_weight}
    shares = {side: shares_of_runs(selection, *metrics[side]).reindex(columns=candidates) for side in weights}
    combined = pd.Series(0.0, candidates)
    for side, weight in weights.items():
        table[f"{side}_noise"] = _standard_error(shares[side].sub(shares[side].mean(axis=1), axis=0))
        combined += weight * table.loc[candidates, f"{side}_error"] / _unit(table[f"{side}_noise"])
    table["combined"] = combined - combined.min()
    table["as_good"] = table["combined"].notna()
    if len(candidates):
        best = combined.idxmin()
        for side in (side for side, weight in weights.items() if weight):
            noise = _standard_error(shares[side].sub(shares[side][best], axis=0)).fillna(0)
            above = table.loc[candidates, f"{side}_error"] - table.loc[best, f"{side}_error"]
            table.loc[candidates, "as_good"] &= above <= noise
    first = ["identity_error", "pose_error", "identity_noise", "pose_noise", "combined", "as_good", "no_face"]
    table = table[[*first, "check_identity_error", "check_pose_error", "pose_metric"]].reset_index()
    return table.merge(rows, on="iteration")


def mean_error(frames: pd.DataFrame, metric: str, protocol: str) -> pd.Series:
    """Mean error of each iteration over its frames; `frames` as `judge` takes them, with `iteration`."""
    return frames[frames["protocol"] == protocol].groupby("iteration")[metric].mean()


def shares_of_runs(frames: pd.DataFrame, metric: str, protocol: str) -> pd.DataFrame:
    """How much each run of neighbouring frames, which err alike, moves the mean error: runs x iterations.

    Arguments as of `mean_error`; columns sum to 0. The standard error of a mean over frames, and of a difference of
    such means, follows from them (the ratio estimator of cluster samples; Cochran, *Sampling Techniques*, 1977).
    """
    frames = frames[frames["protocol"] == protocol].dropna(subset=metric)
    length = min(RUN_LENGTH, max(1, frames.groupby("iteration").size().max() // MIN_RUNS)) if len(frames) else 1
    piece = frames.groupby(["iteration", "run"]).cumcount() // length
    off = frames[metric] - frames.groupby("iteration")[metric].transform("mean")
    shares = off / frames.groupby("iteration")[metric].transform("size")
    return shares.groupby([frames["run"], piece, frames["iteration"]]).sum().unstack("iteration").fillna(0)


def _standard_error(shares: pd.DataFrame) -> pd.Series:
    """Of each column's mean; NaN of a single run."""
    runs = len(shares)
    return np.sqrt((shares**2).sum() * runs / (runs - 1)) if runs > 1 else pd.Series(np.nan, shares.columns)


def _measured(frames: pd.DataFrame, names: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The first (metric, protocol) of `names` that was measured; the first of all where none was."""
    return next((n for n in names if frames.loc[frames["protocol"] == n[1], n[0]].notna().any()), names[0])


def _unit(noise: pd.Series) -> float:
    """The noise of all candidates together; infinite where it is unknown, of a single frame, which says nothing."""
    unit = float(np.sqrt((noise**2).mean()))
    return max(unit, 1e-9) if np.isfinite(unit) else np.inf


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
        return Choice(int(wanted), "user", f"Set by finetune.choose: {_figures(rows, int(wanted))}.")
    if sweep == [0]:
        return Choice(0, "auto", "The sweep is empty: the person as the meta-model shows it, not fine-tuned.")
    if not rows["as_good"].any():
        # Still worth rendering: the pictures show what is wrong better than an error would.
        return Choice(int(sweep[-1]), "auto", f"No face was found in the outputs; {sweep[-1]}, the last, is taken.")
    chosen, best = (
        int(rows.loc[rows["as_good"], "iteration"].min()),
        int(rows.loc[rows["combined"].idxmin(), "iteration"]),
    )
    reason = f"Iteration {chosen} has the best balance: {_figures(rows, chosen)}"
    if chosen != best:
        reason = f"Iteration {chosen} is within one standard error of the best, {best}: {_figures(rows, chosen)}"
    elif chosen == sweep[-1]:
        reason += "; it is the last of the sweep, so more may be better still"
    out = rows.loc[rows["combined"].isna(), "iteration"].tolist()
    return Choice(chosen, "auto", f"{reason}; without faces: {', '.join(map(str, out))}." if out else f"{reason}.")


def check(rows: pd.DataFrame, iteration: int) -> dict[str, float] | None:
    """How good a choice is on the frames that took no part in it; None without such frames.

    Args:
        rows: as `judge` returns.
        iteration: the choice.

    Returns:
        identity_error and pose_error of the choice, and identity_regret and pose_regret, how much these are above the
        least of the sweep.
    """
    row = rows[rows["iteration"] == iteration].iloc[0]
    found: dict[str, float] = {}
    for side in ERRORS:
        error = row[f"check_{side}_error"]
        found |= {f"{side}_error": error, f"{side}_regret": error - rows[f"check_{side}_error"].min()}
    return None if pd.isna(list(found.values())).any() else {n: round(float(v), 6) for n, v in found.items()}


def pose_name(rows: pd.DataFrame) -> str:
    """What the pose error of judged rows is: pose error, or motion error where nothing is self-driven."""
    return str(rows["pose_metric"].iloc[0]).replace("_", " ")


def _figures(rows: pd.DataFrame, iteration: int) -> str:
    """Both errors in words."""
    row = rows[rows["iteration"] == iteration].iloc[0]
    pairs = (("identity error", row["identity_error"]), (pose_name(rows), row["pose_error"]))
    return ", ".join(f"{name} {value:.3f}" for name, value in pairs if pd.notna(value)) or "not measured"
