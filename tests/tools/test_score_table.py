"""Scoring a table of avatars and drivers: rows, errors, going on, and the summary."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from person_clips import WEIGHTS, portrait, swaying, write_person

import reenact.tools.score_table
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.runtime.errors import UserError
from reenact.settings.score import ScoreSettings
from reenact.tools.score_table import COLUMNS, Plan, score_table, summarise

pytestmark = pytest.mark.usefixtures("descriptor_weights")
SETTINGS = ScoreSettings(descriptor_weights=str(WEIGHTS), reference_frames=1, identity_frames=1, perceptual_width=0.1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person with held-out frames, a driver, and an avatar that nobody trained."""
    folder = tmp_path_factory.mktemp("table")
    write_person(folder / "person", [portrait(), *swaying(3)], ["train"] + ["holdout"] * 3)
    for name in ("driver", "other"):
        write_person(folder / name, swaying(3), ["drive"] * 3)
    torch.manual_seed(0)
    save_model(folder / "avatar.safetensors", Reenactor(PRESETS["small"], personal=True), {})
    return folder


def write_table(folder: Path, rows: list[tuple[str, str]]) -> Path:
    """A table of (avatar, driver), files relative to its folder."""
    files = [
        [f"{a}.safetensors", "person/crops.zip", "person/mattes.zip", f"{d}/crops.zip", f"{d}/mattes.zip"]
        for a, d in rows
    ]
    pd.DataFrame(files, columns=COLUMNS[:5]).to_csv(folder / "pairs.csv", index=False)
    return folder / "pairs.csv"


def run(project: Path, out: Path, rows: list[tuple[str, str]]) -> pd.DataFrame:
    table = write_table(project, rows)
    score_table(
        table=table,
        scores=out / "scores.csv",
        summary=out / "summary.csv",
        device="cpu",
        plan=Plan(frames=9),
        settings=SETTINGS,
    )
    return pd.read_csv(out / "scores.csv", keep_default_na=False)


def test_bad_rows_are_recorded_and_a_killed_run_goes_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("avatar", "driver"), ("gone", "driver"), ("avatar", "nobody"), ("avatar", "other")]
    whole = run(project, tmp_path / "whole", rows)
    assert list(whole) == COLUMNS
    assert whole["protocol"].tolist() == ["self", "cross", "", "", "cross"], "self-driving is measured once an avatar"
    assert (
        "gone.safetensors: not a readable model file" in whole["error"][2] and "nobody/crops.zip" in whole["error"][3]
    )
    assert (whole.loc[[0, 1, 4], "frames"] == "3").all() or (whole.loc[[0, 1, 4], "frames"].astype(float) == 3).all()
    summary = pd.read_csv(tmp_path / "whole" / "summary.csv")
    assert summary.query("metric == 'failed'")["avatars"].tolist() == [1, 1] and (summary["errors"] == 2).all()
    # Killed while the third line was written: half a line is at the end.
    (tmp_path / "killed").mkdir()
    lines = (tmp_path / "whole" / "scores.csv").read_text().splitlines(keepends=True)
    (tmp_path / "killed" / "scores.csv").write_text("".join(lines[:3]) + lines[3][:40])
    measured = []
    real = reenact.tools.score_table._Bench.measure
    monkeypatch.setattr(
        reenact.tools.score_table._Bench, "measure", lambda self, job: measured.append(job) or real(self, job)
    )
    pd.testing.assert_frame_equal(run(project, tmp_path / "killed", rows), whole)
    assert len(measured) == 3, "the first row is not measured again"


def test_summary_counts_every_avatar_once() -> None:
    rows = [("a", 0.1), ("a", 0.3), ("b", 0.6), ("c", np.nan)]
    scores = pd.DataFrame(
        [
            {"model": m, "baseline": "", "protocol": "cross", "identity_error": e, "error": "" if e == e else "no face"}
            for m, e in rows
        ]
    )
    row = summarise(scores.reindex(columns=COLUMNS)).set_index("metric").loc["identity_error"]
    assert (row["mean"], row["minimum"], row["maximum"], row["avatars"], row["errors"]) == pytest.approx(
        (0.4, 0.2, 0.6, 2, 1)
    )
    assert row["std"] == pytest.approx(np.std([0.2, 0.6], ddof=1))


def test_mistakes(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no row could be measured; the first error: .*gone\.safetensors"):
        run(project, tmp_path, [("gone", "driver")])
    (tmp_path / "t.csv").write_text("model,driver_crops\na,b\n")
    with pytest.raises(UserError, match="lacks the columns identity_crops, identity_mattes, driver_mattes"):
        score_table(
            table=tmp_path / "t.csv",
            scores=tmp_path / "s.csv",
            summary=tmp_path / "u.csv",
            plan=Plan(),
            settings=SETTINGS,
        )
