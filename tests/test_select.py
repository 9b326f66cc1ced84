"""Choosing an iteration from synthetic curves whose best point is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage import io

from reenact.errors import UserError
from reenact.select import METRICS, by_iteration, choose, combine, select_model
from reenact.settings.select import SelectSettings

SWEEP = [0, 30, 60, 125, 230, 400]
IDENTITY = [0.30, 0.20, 0.14, 0.11, 0.105, 0.104]  # falls, then flattens
POSE = [0.12, 0.10, 0.10, 0.105, 0.15, 0.20]  # mimics get lost late


def scores(identity: list[float] = IDENTITY, pose: list[float] | None = POSE, sweep: list[int] = SWEEP, **other: list[float]) -> pd.DataFrame:
    """A table as stage score writes it. `other`: e.g. cross_jitter; pose None = a photo, without self-driving."""
    rows = []
    for step, iteration in enumerate(sweep):
        cross = {"identity_error": identity[step], "motion_error": 0.1 + 0.01 * step, "jitter": 1.5, "failed": 0.0}
        own = {"identity_error": identity[step] - 0.02, "pose_error": pose[step] if pose else np.nan, "jitter": 1.2, "failed": 0.0}
        for protocol, values in (("cross", cross), ("self", own)):
            if protocol == "self" and pose is None:
                continue
            values |= {name.removeprefix(f"{protocol}_"): v[step] for name, v in other.items() if name.startswith(protocol)}
            rows.append({"model": str(iteration), "protocol": protocol, **values})
    rows.append({"model": "mean_image", "protocol": "cross", "identity_error": 0.01, "motion_error": 0.3})
    return pd.DataFrame(rows).reindex(columns=["model", "protocol", *METRICS])


def auto(table: pd.DataFrame, **settings: object) -> int:
    chosen = SelectSettings(**settings)
    return choose(combine(by_iteration(table), chosen), chosen).iteration


def test_the_turn_of_the_curve_is_chosen() -> None:
    assert auto(scores()) == 125


def test_weights_move_the_choice_along_the_sweep() -> None:
    assert auto(scores(), identity_weight=0) in (30, 60)
    assert auto(scores(), identity_weight=1) in (125, 230, 400)
    assert auto(scores(), identity_weight=1) > auto(scores(), identity_weight=0)


def test_zero_shot_is_never_chosen_by_itself() -> None:
    assert auto(scores(identity=[0.0, 0.5, 0.5, 0.5, 0.5, 0.5], pose=[0.0, 0.5, 0.5, 0.5, 0.5, 0.5])) == 30, "a tie: the fewest"


def test_noise_between_neighbours_moves_the_choice_little() -> None:
    random = np.random.default_rng(0)
    chosen = [
        auto(scores((np.array(IDENTITY) + random.normal(0, 0.004, 6)).tolist(), (np.array(POSE) + random.normal(0, 0.004, 6)).tolist()))
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


def test_trembling_failing_and_unmeasured_iterations_are_left_out() -> None:
    assert auto(scores(cross_jitter=[1, 1, 1, 4, 1, 1])) in (60, 230)
    assert auto(scores(self_failed=[0, 0, 0, 0.5, 0, 0])) in (60, 230)
    assert auto(scores(identity=[*IDENTITY[:3], np.nan, *IDENTITY[4:]])) in (60, 230)
    assert auto(scores(cross_jitter=[9] * 6)) == 125, "every one trembles: the rule decides among all"


def test_photos_are_judged_by_cross_driving() -> None:
    table = combine(by_iteration(scores(pose=None)), SelectSettings())
    assert table["pose_error"].tolist() == table["cross_motion_error"].tolist()
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


def run(folder: Path, table: pd.DataFrame, **settings: object) -> dict:
    table.to_csv(folder / "scores.csv", index=False)
    select_model(
        scores=folder / "scores.csv", sweep=folder / "sweep", model=folder / "model.safetensors", table=folder / "sweep.csv",
        plot=folder / "sweep.png", selected=folder / "selected.json", settings=SelectSettings(**settings),
    )
    return json.loads((folder / "selected.json").read_text())


def test_files(tmp_path: Path, sweep: Path) -> None:
    report = run(tmp_path, scores(cross_jitter=[1, 7, 1, 1, 1, 1]))
    assert (report["iteration"], report["chosen_by"]) == (125, "auto")
    assert report["scores"]["identity_error"] == 0.11
    assert report["reason"].startswith("Iteration 125 has the best balance of 4 iterations: identity error 0.110 (driven by another person)")
    assert report["reason"].endswith("left out: 30 (jitter 7.0 x the driver's).")
    assert (tmp_path / "model.safetensors").read_text() == "model 125"
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert table["iteration"].tolist() == SWEEP
    assert table["selected"].tolist() == [i == 125 for i in SWEEP]
    assert {"identity_error", "pose_error", "combined", "self_pose_error", "cross_motion_error"} <= set(table)
    assert io.imread(tmp_path / "sweep.png").shape[0] > 300


def test_the_user_overrules(tmp_path: Path, sweep: Path) -> None:
    report = run(tmp_path, scores(), choose=230)
    assert (report["iteration"], report["chosen_by"]) == (230, "user")
    assert "select.choose" in report["reason"]
    assert (tmp_path / "model.safetensors").read_text() == "model 230"
    with pytest.raises(UserError, match=r"select\.choose: 100 is not .*allowed: auto, 0, 30, 60, 125, 230, 400"):
        run(tmp_path, scores(), choose=100)


def test_the_user_may_choose_what_could_not_be_judged(tmp_path: Path, sweep: Path) -> None:
    assert run(tmp_path, scores(), choose=0)["iteration"] == 0
    assert run(tmp_path, scores(identity=[np.nan] * 6), choose=60)["iteration"] == 60
