"""Scores of outputs whose quality is known: the truth itself, its negative cases, and the baselines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from person_clips import WEIGHTS, oval, portrait, swaying, write_person

from reenact.data.clip import write_clip
from reenact.data.images import resize_area
from reenact.runtime.errors import UserError
from reenact.settings.score import ScoreSettings
from reenact.stages.score import COLUMNS, FRAME_COLUMNS, score_avatar

pytestmark = pytest.mark.usefixtures("descriptor_weights")

SIZE = 64
SETTINGS = ScoreSettings(descriptor_weights=str(WEIGHTS), reference_frames=2, identity_frames=2, perceptual_width=0.1)
PERFECT, FROZEN, LATE, BLANK = 10, 20, 30, 40
"""'Iterations' of the pretended sweep: the truth, its first frame throughout, one frame late, and no face at all."""


def masked(frames: list[np.ndarray]) -> np.ndarray:
    small = resize_area(np.stack(frames), SIZE)
    return np.rint(small * (resize_area(oval()[None], SIZE)[0][..., None] / 255)).astype(np.uint8)


def pretend(path: Path, protocols: dict[str, tuple[np.ndarray, int]]) -> None:
    """Write a driven clip: per protocol the true outputs and the first frame's number."""
    rows, matte = [], resize_area(oval()[None], SIZE)[0]
    with write_clip(path) as writer:
        for protocol, (truth, first) in protocols.items():
            kinds = {
                PERFECT: truth,
                FROZEN: truth[[0] * len(truth)],
                LATE: truth[[0, *range(len(truth) - 1)]],
                BLANK: np.zeros_like(truth),
            }
            for iteration, images in kinds.items():
                for step, image in enumerate(images):
                    name = f"{protocol}/{iteration:06d}/{step}"
                    writer.add(f"{name}.png", image)
                    writer.add(f"{name}.matte.png", matte if iteration != BLANK else np.zeros_like(matte))
                    rows.append([f"{name}.png", f"{name}.matte.png", protocol, iteration, first + step, step / 25, 0])
        writer.finish(pd.DataFrame(rows, columns=["image", "matte", "protocol", "iteration", "index", "time", "run"]))


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("score")
    held_out = swaying(10)
    person = write_person(
        folder / "person", [portrait(turn=t) for t in (-6, 0, 6)] + held_out, ["train"] * 3 + ["holdout"] * 10
    )
    # Another head: wider, darker, and upside down in colour, but the same movement.
    other = [255 - np.ascontiguousarray(frame[:, ::-1]) // 2 for frame in held_out]
    driver = write_person(folder / "driver", other, ["drive"] * 10)
    pretend(folder / "driven.zip", {"self": (masked(held_out), 3), "cross": (masked(held_out), 0)})
    score_avatar(
        driven=folder / "driven.zip",
        identity_crops=person[0],
        identity_mattes=person[1],
        driver_crops=driver[0],
        driver_mattes=driver[1],
        scores=folder / "scores.csv",
        frame_scores=folder / "frame_scores.csv",
        settings=SETTINGS,
    )
    table = pd.read_csv(folder / "scores.csv", dtype={"model": str}).set_index(["protocol", "model"])
    table.attrs["frames"] = pd.read_csv(folder / "frame_scores.csv", dtype={"model": str})
    return table


def test_one_row_for_every_model_and_baseline(scores: pd.DataFrame) -> None:
    sweep = [str(i) for i in (PERFECT, FROZEN, LATE, BLANK)]
    assert list(scores.index) == [("self", m) for m in ["mean_image", "real_frames", *sweep]] + [
        ("cross", m) for m in ["mean_image", "driver_frame", *sweep]
    ]
    assert ["model", "protocol", *scores.columns] == ["model", "protocol", *COLUMNS[2:]]
    assert (scores["frames"] == 10).all()
    assert scores["descriptor"].unique().tolist() == ["dlib ResNet-29 v1 (public domain)"]


def test_the_truth_scores_as_the_truth(scores: pd.DataFrame) -> None:
    perfect, real = scores.loc[("self", str(PERFECT))], scores.loc[("self", "real_frames")]
    assert (perfect["pose_error"], perfect["motion_error"], perfect["perceptual"]) == (0, 0, 0)
    assert (perfect["psnr"], perfect["ssim"], perfect["matte_iou"], perfect["jitter"]) == (100, 1, 1, 1)
    assert (
        perfect["aligned_error"] == pytest.approx(0, abs=1e-9)
        and perfect["mouth_correlation"] == pytest.approx(1)
        and perfect["csim"] > 0.95
    )
    assert perfect["sharpness"] == pytest.approx(1, abs=0.15), "the same person, other frames"
    assert perfect["identity_error"] == real["identity_error"] < 0.05


def test_a_still_picture_does_not_follow(scores: pd.DataFrame) -> None:
    for model in (str(FROZEN), "mean_image"):
        row = scores.loc[("self", model)]
        assert row["jitter"] == 0
        assert row["motion_error"] > 0.03
        assert row["pose_error"] > 0.03
        assert row["identity_error"] < 0.06, "but it looks like the person"
        assert row["psnr"] < 40
        assert row["mouth_correlation"] == 0
    assert scores.loc[("self", "mean_image"), "sharpness"] < 0.8


def test_a_frame_late_is_worse_than_in_time_and_better_than_still(scores: pd.DataFrame) -> None:
    late, still = scores.loc[("self", str(LATE))], scores.loc[("self", str(FROZEN))]
    for metric in ("pose_error", "motion_error", "perceptual"):
        assert 0 < late[metric] < still[metric]
    assert still["ssim"] < late["ssim"] < 1


def test_no_face_is_counted_and_not_averaged(scores: pd.DataFrame) -> None:
    blank = scores.loc[("self", str(BLANK))]
    assert blank["failed"] == 1
    assert blank[["identity_error", "pose_error", "motion_error", "jitter"]].isna().all()
    assert blank["matte_iou"] == 0
    assert scores.loc[("self", str(PERFECT)), "failed"] == 0


def test_errors_by_frame_average_to_the_scores(scores: pd.DataFrame) -> None:
    frames = scores.attrs["frames"]
    assert list(frames) == FRAME_COLUMNS
    means = frames.groupby(["protocol", "model"])[["identity_error", "pose_error", "motion_error", "failed"]].mean()
    for name in means:
        pd.testing.assert_series_equal(
            means[name], scores[name].reindex(means.index), check_names=False, check_dtype=False, rtol=1e-4, atol=1e-6
        )
    assert set(frames["part"]) == {"select"}, "ten frames are too few to set some aside"


def test_cross_driving_has_no_truth(scores: pd.DataFrame) -> None:
    cross = scores.loc["cross"]
    assert cross[["pose_error", "psnr", "ssim", "perceptual", "matte_iou"]].isna().all(axis=None)
    assert cross.loc["driver_frame", "motion_error"] == 0
    assert cross.loc["driver_frame", "identity_error"] > cross.loc[str(PERFECT), "identity_error"]


def test_mistakes(tmp_path: Path) -> None:
    frames = swaying(3)
    blank = [np.zeros_like(frame) for frame in frames]
    driver = write_person(tmp_path / "driver", frames, ["drive"] * 3)
    pretend(tmp_path / "driven.zip", {"cross": (masked(frames), 0)})
    for roles, pictures, message in [
        ("holdout", frames, "no training frame"),
        ("train", blank, "no face found in any of 2 training frames"),
    ]:
        person = write_person(tmp_path / "person", pictures, [roles] * 3)
        with pytest.raises(UserError, match=message):
            score_avatar(
                driven=tmp_path / "driven.zip",
                identity_crops=person[0],
                identity_mattes=person[1],
                driver_crops=driver[0],
                driver_mattes=driver[1],
                scores=tmp_path / "s.csv",
                frame_scores=tmp_path / "f.csv",
                settings=SETTINGS,
            )
    assert not (tmp_path / "s.csv").exists()
