"""Morphing: both ends are exactly the poses and people that were given, and the way between them is smooth."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from face_shapes import narrow_avatar
from person_clips import swaying, write_person

from reenact.avatar import Avatar
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.runtime.errors import UserError
from reenact.settings.morph import MorphSettings
from reenact.tools.morph import Mixture, Person, eased, morph_people, morph_poses

QUICK = MorphSettings(height=64, preset="ultrafast")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two avatars of one meta-model, one of another, and a meta-model."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    meta = Reenactor(PRESETS["small"])
    save_model(folder / "meta.safetensors", meta, {})
    for name in ("a", "b", "stranger"):
        if name == "stranger":
            meta = Reenactor(PRESETS["small"])
        net = Reenactor(PRESETS["small"], personal=True)
        net.load_state_dict(meta.state_dict(), strict=False)
        with torch.no_grad():
            net.identity_embedding.normal_()
        save_model(folder / f"{name}.safetensors", net, {})
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    return write_person(tmp_path / "driver", swaying(6), ["drive"] * 6)[0]


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def test_a_mixture_begins_and_ends_with_the_two_avatars(models: dict[str, Path]) -> None:
    mixture = Mixture(models["a"], models["b"], torch.device("cpu"))
    pose = torch.randn(2, mixture.avatar.pose_dim)
    first, second = (Avatar.load(models[name], "cpu").render(pose)[0] for name in "ab")
    assert torch.allclose(mixture.at(1.0).render(pose)[0], second, atol=1e-5)
    assert torch.allclose(mixture.at(0.0).render(pose)[0], first, atol=1e-5)
    between = mixture.at(0.5).render(pose)[0]
    assert 0 < (between - first).abs().mean() and 0 < (between - second).abs().mean()


def test_people(models: dict[str, Path], driver: Path, tmp_path: Path) -> None:
    morph_people(
        start=Person(models["a"]),
        end=Person(models["b"]),
        driver_crops=driver,
        video=tmp_path / "o.mp4",
        device="cpu",
        settings=QUICK,
    )
    assert len(pictures(tmp_path / "o.mp4")) == 6
    people = [write_person(tmp_path / str(i), swaying(i + 1), ["train"] * (i + 1))[0] for i in range(2)]
    morph_people(
        start=Person(models["meta"], people[0]),
        end=Person(models["meta"], people[1]),
        driver_crops=driver,
        video=tmp_path / "p.mp4",
        device="cpu",
        settings=QUICK,
    )
    assert len(pictures(tmp_path / "p.mp4")) == 6


def test_poses_go_there_and_back(models: dict[str, Path], driver: Path, tmp_path: Path) -> None:
    morph_poses(
        model=models["a"],
        driver_crops=driver,
        frames=(0, 3),
        seconds=0.4,
        video=tmp_path / "o.mp4",
        device="cpu",
        settings=QUICK,
    )
    shown = pictures(tmp_path / "o.mp4")
    assert len(shown) == 10
    assert np.abs(shown[0] - shown[-1]).mean() < 2


def test_mistakes(models: dict[str, Path], driver: Path, tmp_path: Path) -> None:
    given = dict(driver_crops=driver, video=tmp_path / "o.mp4", device="cpu", settings=QUICK)
    with pytest.raises(UserError, match=r"stranger.*same meta-model as.*only such avatars"):
        morph_people(start=Person(models["a"]), end=Person(models["stranger"]), **given)
    with pytest.raises(UserError, match="is a meta-model"):
        morph_people(start=Person(models["a"]), end=Person(models["meta"]), **given)
    for name in ("a", "meta"):
        with pytest.raises(UserError, match="give a second avatar"):
            morph_people(start=Person(models[name]), end=Person(models[name]), **given)
    with pytest.raises(UserError, match="has no frame 99; it has 0 to 5"):
        morph_poses(model=models["a"], frames=(0, 99), seconds=1, **given)
    assert not (tmp_path / "o.mp4").exists()


def test_easing() -> None:
    assert eased(1) == [0.0] and eased(3) == [0.0, 0.5, 1.0]
    assert np.all(np.diff(eased(20)) > 0)


def test_avatars_made_of_photos_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    save_model(tmp_path / "photos.safetensors", narrow_avatar(), {})
    with pytest.raises(UserError, match="a morph between two people needs one of the constant family"):
        Mixture(tmp_path / "photos.safetensors", models["a"], torch.device("cpu"))
