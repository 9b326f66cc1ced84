"""Edits: a still and a video with controls moved, marked as every rendering, and what is refused."""

import runpy
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from face_shapes import narrow_avatar
from person_clips import swaying, write_person

from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.pose_edit import Control
from reenact.models.reenactor import Reenactor
from reenact.provenance.credentials import read_credentials
from reenact.runtime.errors import UserError
from reenact.settings.edit import EditSettings
from reenact.tools.edit import edit_still, edit_video

QUICK = EditSettings(height=64, preset="ultrafast")
YAW = Control("yaw", "head", -20, 20, "degrees", 0.99, 0.123, "smile", 0.01, {"yaw": 1.0})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = narrow_avatar()
    net.controls = {"yaw": YAW}
    path = tmp_path_factory.mktemp("edit") / "model.safetensors"
    save_model(path, net, {})
    return path


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    return write_person(tmp_path / "driver", swaying(6), ["drive"] * 6)[0]


def command_line(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["edit", *arguments])
    runpy.run_module("workflow_scripts.edit", run_name="__main__")


def test_a_still_is_moved_and_signed(model: Path, tmp_path: Path) -> None:
    pictures = []
    for name, values in (("own", {}), ("turned", {"yaw": 15.0})):
        edit_still(model=model, values=values, picture=tmp_path / f"{name}.png", device="cpu", settings=QUICK)
        pictures.append(cv2.imread(str(tmp_path / f"{name}.png")).astype(int))
    assert pictures[0].shape == (64, 64, 3) and np.abs(pictures[0] - pictures[1]).mean() > 0.5
    found = read_credentials(tmp_path / "own.png")
    assert (found.state, found.ours, found.source_type) == ("intact", True, "trainedAlgorithmicMedia")


def test_a_still_without_a_mark(model: Path, tmp_path: Path) -> None:
    plain = EditSettings(height=64, mark={"enabled": False})
    edit_still(model=model, values={}, picture=tmp_path / "plain.png", device="cpu", settings=plain)
    assert read_credentials(tmp_path / "plain.png").state == "none"


def test_a_video_follows_the_driver_and_is_moved(model: Path, driver: Path, tmp_path: Path) -> None:
    shown = []
    for name, values in (("plain", {}), ("turned", {"yaw": 15.0})):
        video = tmp_path / f"{name}.mp4"
        edit_video(model=model, values=values, driver_crops=driver, video=video, device="cpu", settings=QUICK)
        with av.open(str(video)) as container:
            shown.append([frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)])
        assert read_credentials(video).state == "intact"
    assert len(shown[0]) == len(shown[1]) == 6
    assert np.abs(np.stack(shown[0]) - np.stack(shown[1])).mean() > 0.5


def test_what_the_settings_say_is_done_too(model: Path, driver: Path, tmp_path: Path) -> None:
    still = EditSettings(height=64, pose={"gains": dict.fromkeys(("mouth", "eyes", "brows", "head"), 0.0)}, crf=0)
    edit_video(model=model, values={}, driver_crops=driver, video=tmp_path / "o.mp4", device="cpu", settings=still)
    with av.open(str(tmp_path / "o.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert np.abs(frames[0] - frames[-1]).mean() < 2, "nothing follows the driver"


def test_what_cannot_be_done_is_refused_and_nothing_is_written(model: Path, driver: Path, tmp_path: Path) -> None:
    target = tmp_path / "o.mp4"
    with pytest.raises(UserError, match="control yaw: 90 degrees; allowed: -20 to 20"):
        edit_video(model=model, values={"yaw": 90}, driver_crops=driver, video=target, device="cpu", settings=QUICK)
    with pytest.raises(UserError, match="control 'smile': this model does not offer it"):
        edit_still(model=model, values={"smile": 1}, picture=target, device="cpu", settings=QUICK)
    torch.manual_seed(0)
    save_model(tmp_path / "constant.safetensors", Reenactor(PRESETS["small"], personal=True), {})
    with pytest.raises(UserError, match="constant family"):
        edit_still(model=tmp_path / "constant.safetensors", values={}, picture=target, device="cpu", settings=QUICK)
    assert not target.exists() and not list(tmp_path.glob(".o*"))


def test_the_command_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command_line(monkeypatch, "--model", str(model), "--list")
    assert "yaw            -20    20  degrees" in capsys.readouterr().out
    picture = tmp_path / "p.png"
    command_line(
        monkeypatch,
        "--model",
        str(model),
        "--set",
        "yaw=5",
        "--picture",
        str(picture),
        "--height",
        "64",
        "--device",
        "cpu",
    )
    assert picture.exists()
    for wrong, said in (
        (("--set", "yaw"), "write NAME=VALUE"),
        (("--set", "yaw=1", "--video", "v.mp4"), "give --picture PATH.png, or --driver-crops"),
    ):
        with pytest.raises(SystemExit) as stop:
            command_line(
                monkeypatch, "--model", str(model), *wrong, *(["--picture", "q.png"] if "v.mp4" not in wrong else [])
            )
        assert stop.value.code == 1 and said in capsys.readouterr().err
