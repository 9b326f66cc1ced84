"""Driving a sweep: the same frames for every model, in order, in runs of consecutive frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from person_clips import oval, swaying, write_person

from reenact.avatar import Avatar
from reenact.data.clip import Clip
from reenact.data.images import frame_by_frame
from reenact.data.sequence import RUN_LENGTH, runs, spread
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.runtime.errors import UserError
from reenact.settings.drive import DriveSettings
from reenact.stages.drive import COLUMNS, drive_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small avatars with random weights."""
    folder = tmp_path_factory.mktemp("sweep")
    for iteration in (0, 30):
        torch.manual_seed(iteration)
        save_model(folder / f"{iteration:06d}.safetensors", Reenactor(PRESETS["small"], personal=True), {})
    return folder


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, Path]:
    person, _ = write_person(tmp_path / "person", swaying(14), ["train"] * 4 + ["holdout"] * 10)
    driver, _ = write_person(tmp_path / "driver", swaying(30), ["drive"] * 30)
    return person, driver


def drive(sweep: Path, people: tuple[Path, Path], path: Path, settings: DriveSettings) -> Clip:
    """What a sweep makes of two people."""
    person, driver = people
    drive_sweep(sweep=sweep, identity_crops=person, driver_crops=driver, driven=path, device="cpu", settings=settings)
    return Clip(path)


def test_every_model_is_shown_the_same_frames(sweep: Path, people: tuple[Path, Path], tmp_path: Path) -> None:
    driven = drive(sweep, people, tmp_path / "d.zip", DriveSettings(frames=16, batch_size=3))
    assert driven.table.columns.tolist() == COLUMNS
    assert driven.table.groupby(["iteration", "protocol"]).size().to_dict() == {
        (0, "self"): 10,
        (0, "cross"): 16,
        (30, "self"): 10,
        (30, "cross"): 16,
    }
    frames = {
        i: part[["protocol", "index", "time", "run"]].to_numpy().tolist()
        for i, part in driven.table.groupby("iteration")
    }
    assert frames[0] == frames[30]
    assert driven.table.query("protocol == 'self' and iteration == 0")["index"].tolist() == list(range(4, 14))


def test_models_with_one_pose_encoder_look_at_the_frames_once(
    people: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second model has the encoder of the first, the third another one; each makes what it makes alone."""
    nets = [Reenactor(PRESETS["small"], personal=True) for _ in range(3)]
    nets[1].pose_encoder.load_state_dict(nets[0].pose_encoder.state_dict())
    seen = []
    look = Avatar.pose_embedding
    monkeypatch.setattr(
        Avatar, "pose_embedding", lambda avatar, frames: seen.append(len(frames)) or look(avatar, frames)
    )

    def driven(name: str, models: list[int]) -> dict[str, np.ndarray]:
        folder = tmp_path / name
        folder.mkdir()
        for number in models:
            save_model(folder / f"{number:06d}.safetensors", nets[number], {})
        clip = drive(folder, people, folder / "driven.zip", DriveSettings(frames=16))
        return {image: clip.image(image) for image in clip.table["image"]}

    together = driven("together", [0, 1, 2])
    assert sum(seen) == 2 * (10 + 16)
    for number in range(3):
        alone = driven(f"alone{number}", [number])
        assert all(np.array_equal(picture, together[name]) for name, picture in alone.items())
    assert not np.array_equal(together["cross/000000/000007.png"], together["cross/000001/000007.png"])


def test_images_are_those_of_the_model(sweep: Path, people: tuple[Path, Path], tmp_path: Path) -> None:
    driven, source = drive(sweep, people, tmp_path / "d.zip", DriveSettings(precision="fp32")), Clip(people[1])
    row = driven.table.query("protocol == 'cross' and iteration == 30 and index == 7").iloc[0]
    assert (row["image"], row["matte"]) == ("cross/000030/000007.png", "cross/000030/000007.matte.png")
    avatar = Avatar.load(sweep / "000030.safetensors", "cpu", "fp32")
    rgb, matte = next(frame_by_frame(avatar.drive([source.image("000007.png")])))
    # A batch may round differently in the last bit.
    assert np.abs(driven.image(row["image"]).astype(int) - rgb).max() <= 1
    assert np.abs(driven.image(row["matte"]).astype(int) - matte).max() <= 1
    assert rgb.shape == (64, 64, 3) and oval(64).shape == matte.shape


def test_photos_are_driven_by_others_only(sweep: Path, people: tuple[Path, Path], tmp_path: Path) -> None:
    photo, _ = write_person(tmp_path / "photo", swaying(1), ["train"])
    drive_sweep(
        sweep=sweep,
        identity_crops=photo,
        driver_crops=people[1],
        driven=tmp_path / "d.zip",
        device="cpu",
        settings=DriveSettings(frames=9),
    )
    assert set(Clip(tmp_path / "d.zip").table["protocol"]) == {"cross"}


def test_mistakes(sweep: Path, people: tuple[Path, Path], tmp_path: Path) -> None:
    given = dict(identity_crops=people[0], driven=tmp_path / "d.zip", device="cpu", settings=DriveSettings())
    with pytest.raises(UserError, match="no model in it"):
        drive_sweep(sweep=tmp_path, driver_crops=people[1], **given)
    nobody, _ = write_person(tmp_path / "nobody", swaying(2), ["unused"] * 2)
    with pytest.raises(UserError, match=r"nobody.*no frame with a face"):
        drive_sweep(sweep=sweep, driver_crops=nobody, **given)
    assert not (tmp_path / "d.zip").exists()


def test_runs_are_consecutive_and_spread() -> None:
    found = runs(list(range(100)), 32)
    assert len(found) == 32
    assert found["row"].iloc[[0, -1]].tolist() == [0, 99]
    for _, part in found.groupby("run"):
        assert len(part) == RUN_LENGTH
        assert np.diff(part["row"]).tolist() == [1] * (RUN_LENGTH - 1)


def test_all_frames_when_there_are_few_and_gaps_end_runs() -> None:
    found = runs([0, 1, 2, 7, 8], 9)
    assert found["row"].tolist() == [0, 1, 2, 3, 4]
    assert found["run"].tolist() == [0, 0, 0, 1, 1]
    assert runs([], 9).empty


def test_windows_that_touch_stay_apart_and_do_not_overlap() -> None:
    found = runs(list(range(20)), 16)
    assert found["row"].is_unique
    assert found["run"].nunique() == 2


def test_spread() -> None:
    assert spread(3, 5) == [0, 1, 2]
    assert spread(100, 3) == [0, 50, 99] or spread(100, 3) == [0, 49, 99]
    assert spread(5, 1) == [0]
