"""Stage select: the files that it writes; the rule is tested in tests/evaluation/test_tradeoff.py."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage import io

from reenact.evaluation.metrics import METRICS
from reenact.runtime.errors import UserError
from reenact.settings.select import SelectSettings
from reenact.stages.select import SelectOutputs, select_model

SWEEP = [0, 30, 60]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A sweep of three models, whose second is clearly the best, and its scores."""
    (tmp_path / "sweep").mkdir()
    random, rows, frames = np.random.default_rng(0), [], []
    for iteration, error in zip(SWEEP, (0.3, 0.1, 0.2), strict=True):
        (tmp_path / "sweep" / f"{iteration:06d}.safetensors").write_text(f"model {iteration}")
        for protocol in ("self", "cross"):
            rows.append({"model": str(iteration), "protocol": protocol, "identity_error": error, "jitter": 1.5})
            for index in range(32):
                noise = random.normal(0, 0.01)
                part = "check" if index >= 16 else "select"
                known = {"model": iteration, "protocol": protocol, "part": part, "run": index // 8, "index": index}
                names = ("identity_error", "pose_error", "motion_error")
                frames.append(known | {"failed": 0} | dict.fromkeys(names, error + noise))
    rows.append({"model": "mean_image", "protocol": "cross", "identity_error": 0.01})
    table = pd.DataFrame(rows).reindex(columns=["model", "protocol", *METRICS]).assign(descriptor="dlib")
    table.to_csv(tmp_path / "scores.csv", index=False)
    pd.DataFrame(frames).to_csv(tmp_path / "frame_scores.csv", index=False)
    return tmp_path


def run(folder: Path, wanted: int | str = "auto") -> dict:
    names = ("model.safetensors", "sweep.csv", "sweep.png", "selected.json")
    select_model(
        scores=folder / "scores.csv",
        frame_scores=folder / "frame_scores.csv",
        sweep=folder / "sweep",
        outputs=SelectOutputs(*(folder / name for name in names)),
        wanted=wanted,
        settings=SelectSettings(),
    )
    return json.loads((folder / "selected.json").read_text())


def test_files(project: Path) -> None:
    report = run(project)
    assert (report["iteration"], report["chosen_by"], report["descriptor"]) == (30, "auto", "dlib")
    assert report["reason"].startswith("Iteration 30 has the best balance: identity error 0.")
    assert report["check"]["identity_regret"] == report["check"]["pose_regret"] == 0
    assert report["scores"]["cross_identity_error"] == 0.1 and report["scores"]["self_jitter"] == 1.5
    assert (project / "model.safetensors").read_text() == "model 30"
    table = pd.read_csv(project / "sweep.csv")
    assert table["iteration"].tolist() == SWEEP and table["selected"].tolist() == [False, True, False]
    assert {"identity_error", "pose_error", "combined", "self_jitter", "cross_identity_error"} <= set(table)
    assert io.imread(project / "sweep.png").shape[0] > 300


def test_the_user_overrules(project: Path) -> None:
    report = run(project, wanted=60)
    assert (report["iteration"], report["chosen_by"]) == (60, "user")
    assert (project / "model.safetensors").read_text() == "model 60"


def test_scores_of_a_model_that_is_gone(project: Path) -> None:
    (project / "sweep" / "000030.safetensors").unlink()
    with pytest.raises(UserError, match=r"no model of iteration 30, which .*scores\.csv has; run stage drive again"):
        run(project)
