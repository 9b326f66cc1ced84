"""Choosing an iteration from synthetic curves whose best point is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage import io

from reenact.data.sequence import RUN_LENGTH, SELECT, parts
from reenact.evaluation.metrics import METRICS
from reenact.evaluation.tradeoff import _beaten, check, choose, judge
from reenact.runtime.errors import UserError
from reenact.settings.select import SelectSettings
from reenact.stages.select import by_iteration, select_model

SWEEP = [0, 30, 60, 125, 230, 400]
IDENTITY = [0.30, 0.20, 0.14, 0.11, 0.105, 0.104]  # falls, then flattens
POSE = [0.12, 0.10, 0.10, 0.105, 0.15, 0.20]  # expression get lost late


def scores(
    identity: list[float] = IDENTITY, pose: list[float] | None = POSE, sweep: list[int] = SWEEP, **other: list[float]
) -> pd.DataFrame:
    """A table as stage score writes it. `other`: e.g. cross_jitter; pose None = a photo, without self-driving."""
    rows = []
    for step, iteration in enumerate(sweep):
        cross = {"identity_error": identity[step], "motion_error": 0.1 + 0.01 * step, "jitter": 1.5, "failed": 0.0}
        own = {
            "identity_error": identity[step] - 0.02,
            "pose_error": pose[step] if pose else np.nan,
            "jitter": 1.2,
            "failed": 0.0,
        }
        for protocol, values in (("cross", cross), ("self", own)):
            if protocol == "self" and pose is None:
                continue
            values |= {
                name.removeprefix(f"{protocol}_"): v[step] for name, v in other.items() if name.startswith(protocol)
            }
            rows.append({"model": str(iteration), "protocol": protocol, **values})
    rows.append({"model": "mean_image", "protocol": "cross", "identity_error": 0.01, "motion_error": 0.3})
    return pd.DataFrame(rows).reindex(columns=["model", "protocol", *METRICS, "descriptor"]).assign(descriptor="dlib")


def by_frame(table: pd.DataFrame, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Frames whose errors vary about those of the table, those of one frame alike for all models (and apart by `noise`)."""
    random, tables = np.random.default_rng(seed), []
    for protocol in ("self", "cross"):
        hard = random.normal(0, 0.02, 64)
        for row in table[table["protocol"] == protocol].itertuples():
            errors = random.normal(0, noise, (3, 64))
            errors -= (
                errors.reshape(3, 2, 2, 16)[:, :, 0].mean(axis=(1, 2))[:, None, None].reshape(3, 1)
            )  # means stay those of the table
            values = {
                name: getattr(row, name) + hard + error
                for name, error in zip(("identity_error", "pose_error", "motion_error"), errors)
            }
            tables.append(
                pd.DataFrame(
                    {
                        "model": row.model,
                        "protocol": protocol,
                        "part": (["select"] * 16 + ["check"] * 16) * 2,
                        "run": np.arange(64) // 8,
                        "index": range(64),
                        "failed": 0,
                        **values,
                    }
                )
            )
    return pd.concat(tables)


def judged(table: pd.DataFrame, noise: float = 0.0, **settings: object) -> pd.DataFrame:
    return judge(by_iteration(table), by_frame(table, noise), SelectSettings(**settings))


def auto(table: pd.DataFrame, **settings: object) -> int:
    return choose(judged(table, **settings)).iteration


def test_the_turn_of_the_curve_is_chosen() -> None:
    assert auto(scores()) == 125


def test_weights_move_the_choice_along_the_sweep() -> None:
    assert auto(scores(), identity_weight=0) in (30, 60)
    assert auto(scores(), identity_weight=1) in (125, 230, 400)
    assert auto(scores(), identity_weight=1) > auto(scores(), identity_weight=0)


def test_zero_shot_is_never_chosen_by_itself() -> None:
    assert auto(scores(identity=[0.0, 0.5, 0.5, 0.5, 0.5, 0.5], pose=[0.0, 0.5, 0.5, 0.5, 0.5, 0.5])) == 30, (
        "a tie: the fewest"
    )


def test_noise_between_neighbours_moves_the_choice_little() -> None:
    random = np.random.default_rng(0)
    chosen = [
        auto(
            scores(
                (np.array(IDENTITY) + random.normal(0, 0.004, 6)).tolist(),
                (np.array(POSE) + random.normal(0, 0.004, 6)).tolist(),
            )
        )
        for _ in range(200)
    ]
    assert np.mean([c == 125 for c in chosen]) > 0.7
    assert set(chosen) <= {60, 125, 230}


def test_one_lucky_value_does_not_win() -> None:
    pose = [0.12, 0.10, 0.10, 0.105, 0.15, 0.13]
    assert auto(scores(pose=pose)) == 125


def test_an_error_that_hardly_varies_does_not_decide() -> None:
    flat = [0.3, 0.1001, 0.1000, 0.1001, 0.1002, 0.1003]
    assert auto(scores(identity=IDENTITY, pose=flat)) == auto(scores(identity=IDENTITY, pose=[0.1] * 6))


def test_a_loss_that_is_within_noise_does_not_outweigh_a_gain_that_is_not() -> None:
    """The astronaut of the demo: likeness comes late, and her motion error rises by no more than two stretches of it differ."""
    table = scores(
        identity=[0.130, 0.127, 0.128, 0.111, 0.097], pose=[0.066, 0.066, 0.069, 0.071, 0.074], sweep=SWEEP[:5]
    )
    assert auto(table) == 230
    frames = by_frame(table)
    # Without asking for likeness first, which leaves 30 out.
    stretched, ours = (
        judge(by_iteration(table), frames, SelectSettings(noise=noise, likeness=0)).set_index("iteration")["combined"]
        for noise in (0.05, 0.25)
    )
    assert abs(stretched[30] - stretched[230]) < 0.05, "both stretched to the full scale, the ends tie"
    assert ours[30] - ours[230] > 0.15


# The astronaut of the demo, one photo, at a learning rate of 5e-4: somebody else until late (345 is pretended).
LATE = ([0.119, 0.126, 0.131, 0.135, 0.101, 0.085], [0, 30, 60, 125, 230, 345])


@pytest.mark.parametrize(("count", "chosen"), [(5, 230), (6, 345)])
def test_who_is_not_like_the_person_is_not_chosen_for_the_mimics(count: int, chosen: int) -> None:
    identity, sweep = LATE
    rows = judged(scores(identity[:count], pose=None, sweep=sweep[:count]), noise=0.002)
    assert choose(rows).iteration == chosen
    assert (
        rows["left_out"].str.startswith("unlike the person").tolist() == [False, True, True, True, False, False][:count]
    )
    assert "left out: 30 (unlike the person: identity error 0.1" in choose(rows).reason


@pytest.mark.parametrize(("likeness", "first"), [(0, 30), (0.5, 30), (0.6, 60), (0.9, 125), (1, 400)])
def test_the_share_of_the_way_to_likeness_is_a_setting(likeness: float, first: int) -> None:
    rows = judged(scores(), likeness=likeness)
    assert rows.loc[rows["combined"].notna(), "iteration"].min() == first


def test_what_is_left_out_for_its_likeness_moves_no_other_score() -> None:
    all_of_them, near = (judged(scores(), likeness=likeness).set_index("iteration") for likeness in (0, 0.9))
    assert near["combined"].notna().tolist() == [False, False, False, True, True, True]
    assert near["combined"].dropna().equals(all_of_them["combined"][[125, 230, 400]])


def test_likeness_that_noise_cannot_tell_leaves_nobody_out() -> None:
    table = scores(identity=[0.050, 0.0490, 0.0485, 0.048, 0.046, 0.045])
    assert judged(table)["left_out"].str.startswith("unlike").any()
    assert not judged(table, noise=0.05)["left_out"].str.startswith("unlike").any()


@pytest.mark.parametrize(("at_125", "last", "candidate"), [(0.0985, 0.080, False), (0.1075, 0.098, True)])
def test_noise_keeps_nobody_who_is_far_from_a_person_that_the_sweep_reaches(
    at_125: float, last: float, candidate: bool
) -> None:
    """125 is a little, but not surely, less than half of the way to the last, which is clearly like her or is not."""
    rows = judged(
        scores([0.113, 0.125, 0.125, at_125, last + 0.013, last], pose=None, sweep=LATE[1]), noise=0.03
    ).set_index("iteration")
    middle = rows.loc[[0, 345], "identity_error"].mean()
    assert 0 < rows.loc[125, "identity_error"] - middle < rows.loc[125, "identity_spread"]
    assert (rows.loc[125, "left_out"] == "") == candidate


def test_where_nobody_is_like_the_person_all_are_judged() -> None:
    rows = judged(scores(identity=[0.119, 0.126, 0.131, 0.135], pose=None, sweep=SWEEP[:4]))
    assert choose(rows).iteration == 30
    assert "every iteration has a fault, this one: unlike the person" in choose(rows).reason


@pytest.mark.parametrize(
    ("identity", "pose", "behind", "beaten"),
    [
        (0.0753, 0.0551, 0.035, True),
        (0.0753, 0.0562, 0.035, False),
        (0.0815, 0.0551, 0.035, False),
        (0.0832, 0.0500, 0.035, True),
        (0.0753, 0.0551, 0.015, False),
    ],
)
def test_noise_ties_nobody_who_is_no_better_in_anything(
    identity: float, pose: float, behind: float, beaten: bool
) -> None:
    """The last two of the demo's astronaut, and what a little less likeness or expression, or a smaller difference, would change."""
    rows = pd.DataFrame(
        {
            "identity_error": [0.114, 0.0832, identity],
            "pose_error": [0.045, 0.0560, pose],
            "combined": [np.nan, 0.49 + behind, 0.49],
            "identity_spread": 0.002,
            "pose_spread": 0.0018,
        }
    )
    assert _beaten(rows, 0.02).tolist() == [False, beaten, False]


@pytest.mark.parametrize("count", [16, 75, 120, 300, 1000])
def test_both_parts_of_a_stretch_see_all_of_it(count: int) -> None:
    select = np.array(parts(count)) == SELECT
    ends = np.flatnonzero(np.diff(select)) + 1
    lengths = np.diff([0, *ends, count])
    assert (
        len(lengths) >= 4
        and len(lengths) % 2 == 0
        and np.ptp(lengths) <= 1
        and abs(2 * select.sum() - count) <= len(lengths)
    )
    assert lengths.min() >= min(2 * RUN_LENGTH, count // 4) - 4
    assert set(parts(15)) == {SELECT}


def test_trembling_failing_and_unmeasured_iterations_are_left_out() -> None:
    assert auto(scores(cross_jitter=[1, 1, 1, 4, 1, 1])) in (60, 230)
    assert auto(scores(self_failed=[0, 0, 0, 0.5, 0, 0])) in (60, 230)
    assert auto(scores(identity=[*IDENTITY[:3], np.nan, *IDENTITY[4:]])) in (60, 230)
    assert auto(scores(cross_jitter=[9] * 6)) == 125, "every one trembles: the rule decides among all"


def test_photos_are_judged_by_cross_driving() -> None:
    table = judged(scores(pose=None))
    part = (
        by_frame(scores(pose=None))
        .query("part == 'select' and protocol == 'cross'")
        .groupby("model")["motion_error"]
        .mean()
    )
    assert table["pose_error"].tolist() == pytest.approx([part[str(i)] for i in SWEEP])
    assert auto(scores(pose=None)) in (60, 125)


def test_two_candidates_and_one() -> None:
    assert auto(scores(sweep=[0, 50, 100], pose=[0.1, 0.1, 0.1])) == 100
    assert auto(scores(sweep=[0, 50])) == 50
    assert auto(scores(sweep=[50])) == 50


def test_nothing_measured_still_gives_an_avatar(tmp_path: Path, sweep: Path) -> None:
    report = run(tmp_path, scores(identity=[np.nan] * 6, pose=[np.nan] * 6))
    assert (report["iteration"], report["chosen_by"]) == (400, "auto")
    assert "no face was found" in report["reason"]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / "sweep").mkdir()
    for iteration in SWEEP:
        (tmp_path / "sweep" / f"{iteration:06d}.safetensors").write_text(f"model {iteration}")
    return tmp_path / "sweep"


def run(folder: Path, table: pd.DataFrame, wanted: int | str = "auto", **settings: object) -> dict:
    table.to_csv(folder / "scores.csv", index=False)
    by_frame(table).to_csv(folder / "frame_scores.csv", index=False)
    select_model(
        scores=folder / "scores.csv",
        frame_scores=folder / "frame_scores.csv",
        wanted=wanted,
        sweep=folder / "sweep",
        model=folder / "model.safetensors",
        table=folder / "sweep.csv",
        plot=folder / "sweep.png",
        selected=folder / "selected.json",
        settings=SelectSettings(**settings),
    )
    return json.loads((folder / "selected.json").read_text())


def test_files(tmp_path: Path, sweep: Path) -> None:
    report = run(tmp_path, scores(cross_jitter=[1, 7, 1, 1, 1, 1]))
    assert (report["iteration"], report["chosen_by"]) == (125, "auto")
    assert report["scores"]["cross_identity_error"] == 0.11
    assert report["descriptor"] == "dlib"
    assert report["reason"].startswith("Iteration 125 has the best balance of 4 iterations: identity error 0.1")
    assert report["reason"].endswith("left out: 30 (jitter 7.0 x the driver's).")
    assert (tmp_path / "model.safetensors").read_text() == "model 125"
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert table["iteration"].tolist() == SWEEP
    assert table["selected"].tolist() == [i == 125 for i in SWEEP]
    assert {"identity_error", "pose_error", "combined", "self_pose_error", "cross_motion_error"} <= set(table)
    assert io.imread(tmp_path / "sweep.png").shape[0] > 300


def test_the_user_overrules(tmp_path: Path, sweep: Path) -> None:
    report = run(tmp_path, scores(), wanted=230)
    assert (report["iteration"], report["chosen_by"]) == (230, "user")
    assert "finetune.choose" in report["reason"]
    assert (tmp_path / "model.safetensors").read_text() == "model 230"
    with pytest.raises(UserError, match=r"finetune\.choose: .* 100; allowed: auto, 0, 30, 60, 125, 230, 400"):
        run(tmp_path, scores(), wanted=100)


def test_the_user_may_choose_what_could_not_be_judged(tmp_path: Path, sweep: Path) -> None:
    assert run(tmp_path, scores(), wanted=0)["iteration"] == 0
    assert run(tmp_path, scores(identity=[np.nan] * 6), wanted=60)["iteration"] == 60


def test_the_choice_is_checked_on_frames_that_it_did_not_see() -> None:
    table = scores()
    frames = by_frame(table)
    honest = judge(by_iteration(table), frames, SelectSettings())
    assert check(honest, 125)["best_iteration"] == 125 and check(honest, 125)["gap"] == 0
    # Frames kept for the check that tell another story move the check and not the choice.
    other = frames["part"].eq("check") & frames["model"].eq("30")
    frames.loc[other, ["identity_error", "pose_error"]] -= 0.3
    changed = judge(by_iteration(table), frames, SelectSettings())
    assert choose(changed) == choose(honest)
    assert check(changed, 125)["best_iteration"] == 30 and check(changed, 125)["gap"] > 0.2
    assert check(judge(by_iteration(table), frames[frames["part"] == "select"], SelectSettings()), 125) is None


def test_what_noise_cannot_tell_apart_is_a_tie_for_the_fewer_iterations() -> None:
    pose = [0.12, 0.10, 0.10, 0.115, 0.125, 0.20]
    identity = [0.30, 0.20, 0.14, 0.13, 0.0835, 0.083]
    sure, unsure = judged(scores(identity, pose)), judged(scores(identity, pose), noise=0.05)
    assert (choose(sure).iteration, choose(unsure).iteration) == (230, 125)
    assert "better by no more than noise, so the fewest iterations win" in choose(unsure).reason
    assert sure.loc[4, "wins"] == 1 > unsure["wins"].max()
    assert unsure["identity_spread"].max() > 5 * sure["identity_spread"].max()


def test_an_empty_sweep_is_the_model_without_fine_tuning(tmp_path: Path, sweep: Path) -> None:
    report = run(tmp_path, scores(sweep=[0]))
    assert (report["iteration"], report["check"]) == (0, None)
    assert "not fine-tuned" in report["reason"]


# The astronaut again, at 1e-3 on two threads.
LATER = (
    [0.113, 0.124, 0.120, 0.102, 0.093, 0.078],
    [0.045, 0.045, 0.044, 0.048, 0.056, 0.055],
    [0, 30, 60, 125, 230, 345],
)


def test_what_a_sweep_went_on_to_is_chosen() -> None:
    identity, motion, sweep = LATER
    rows = judged(scores(identity, pose=None, sweep=sweep, cross_motion_error=motion), noise=0.006)
    assert choose(rows).iteration == 345
