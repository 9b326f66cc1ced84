"""Judging controls by what was seen, and storing those that work."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from face_shapes import mesh, narrow_avatar, narrow_model

from reenact.faces.face import Face
from reenact.models.model_file import load_model, save_model
from reenact.models.warping.expression import Expressions
from reenact.runtime.errors import UserError
from reenact.tools.controls import RANGES, FaceReader, fit_mixtures, judge, store_controls

USUAL = {"smile": 0.1, "brows": 0.1, "jaw": 0.1}
ALONE = {name: {name: 1.0} for name in RANGES}


def tried(smile_into_brows: float = 0.0, identity: float = 0.0, noise: float = 0.0) -> pd.DataFrame:
    """What would be seen of two people: smile and brows work, the jaw does not move."""
    random, rows = np.random.default_rng(0), []
    for person in ("a", "b"):
        for control in USUAL:
            for asked in np.linspace(-1, 1, 7):
                seen = dict.fromkeys(USUAL, 0.0)
                seen[control] += 0.0 if control == "jaw" else 0.2 * asked
                seen["brows"] += 0.2 * smile_into_brows * asked if control == "smile" else 0.0
                seen["jaw"] += 0.01 * random.normal()
                seen = {name: value + noise * random.normal() for name, value in seen.items()}
                error = 0.02 + identity * abs(asked)
                rows.append({"person": person, "control": control, "asked": asked, **seen, "identity_error": error})
    return pd.DataFrame(rows)


def offered(table: pd.DataFrame) -> list[str]:
    return judge(table, USUAL).query("offered")["control"].tolist()


def test_what_moves_and_leaves_the_rest_alone_is_offered() -> None:
    table = judge(tried(), USUAL).set_index("control")
    assert table["offered"].tolist() == [True, True, False]
    assert table.loc["smile", "correlation"] == pytest.approx(1) and table.loc["smile", "reach"] == pytest.approx(4)
    assert table.loc["smile", "leak"] < 0.05 and table.loc["smile", "leaks_to"] == "brows"
    assert table.loc["smile", "people"] == 2


@pytest.mark.parametrize(
    ("wrong", "left"),
    [
        ({"smile_into_brows": 0.5}, ["brows"]),
        ({"smile_into_brows": -0.3}, ["smile", "brows"]),
        ({"identity": 0.06}, []),
        ({"noise": 0.5}, []),
    ],
)
def test_leaks_identity_and_noise(wrong: dict[str, float], left: list[str]) -> None:
    assert offered(tried(**wrong)) == left


def test_a_mixture_undoes_half_of_what_leaks() -> None:
    found = fit_mixtures(tried(smile_into_brows=0.5), USUAL)
    assert found["smile"] == {"smile": pytest.approx(1), "brows": pytest.approx(-0.25)}
    assert found["brows"] == {"brows": 1.0} and found["jaw"] == {"jaw": 1.0}
    assert fit_mixtures(tried(smile_into_brows=0.1), USUAL)["smile"] == {"smile": 1.0}, "too little to counter"


def test_what_works_is_stored_and_the_weights_stay(tmp_path: Path) -> None:
    path = tmp_path / "meta.safetensors"
    net = narrow_model()
    save_model(path, net, {"stage": "meta"}, half=True)
    before = load_model(path).reenactor.state_dict()
    assert store_controls(path, judge(tried(), USUAL), ALONE) == ["smile", "brows"]
    loaded, metadata, _ = load_model(path)
    assert (loaded.controls["smile"].low, loaded.controls["smile"].high) == RANGES["smile"]
    assert metadata == {"stage": "meta"}
    assert all(value.equal(before[name]) for name, value in loaded.state_dict().items())


def test_an_avatar_is_no_meta_model(tmp_path: Path) -> None:
    save_model(tmp_path / "avatar.safetensors", narrow_avatar(), {})
    with pytest.raises(UserError, match=r"avatar.safetensors: is an avatar; controls are measured on a meta-model"):
        store_controls(tmp_path / "avatar.safetensors", judge(tried(), USUAL), ALONE)


class Drawn:
    """A finder that sees the points it is given."""

    def __init__(self, points: np.ndarray) -> None:
        self._points = points

    def find(self, image: np.ndarray) -> list[Face]:
        return [Face(self._points.astype(np.float32), 1.0)]


@pytest.mark.parametrize("angle", [-20.0, 10.0])
def test_a_turned_head_is_measured_as_if_it_were_not(angle: float) -> None:
    turn = np.radians(angle)
    matrix = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    expressions = Expressions(narrow_model().face)
    seen = []
    for points in (mesh(), mesh() @ matrix.T):
        reader = FaceReader(expressions, Drawn(200 * points[:, :2] + 128), mesh())
        seen.append(reader.read(np.zeros((256, 256, 3), np.uint8))[0])
    assert seen[1].pop("yaw") - seen[0].pop("yaw") == pytest.approx(angle, abs=0.1)
    for name, value in seen[0].items():
        assert seen[1][name] == pytest.approx(value, abs=1e-3)
