"""Live driving, with files that stand for the camera; what is missing on a machine is one line."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from face_shapes import narrow_avatar
from person_clips import portrait
from videos import place_head, texture, write_video

from reenact.avatar import Avatar
from reenact.faces.face import Face
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.provenance.credentials import read_credentials
from reenact.provenance.stamp import Stamp
from reenact.provenance.watermark import Watermark
from reenact.rendering import screens
from reenact.rendering.camera import open_camera
from reenact.rendering.compose import to_bytes
from reenact.rendering.screens import Show, open_screen
from reenact.runtime.errors import UserError
from reenact.settings.live import LiveSettings
from reenact.tools.live import Follower, Puppet, run_live

PARTS = ("mouth", "eyes", "brows", "head")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small avatar with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("live") / "model.safetensors"
    save_model(path, Reenactor(PRESETS["small"], personal=True), {})
    return path


def walk(path: Path, count: int, rate: int = 25) -> Path:
    """A head that moves to the right over a background."""
    canvas, head = texture(240, 320), portrait()
    return write_video(path, [place_head(canvas, head, 120 + 2 * step, 120, 110) for step in range(count)], rate=rate)


def test_a_file_in_place_of_a_camera(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture) -> None:
    video = walk(tmp_path / "camera.mp4", 30)
    settings = LiveSettings(height=64, beside=True, report_every=0.3)
    latency = run_live(
        model=model, source=str(video), output=str(tmp_path / "out.mp4"), device="cpu", settings=settings
    )
    assert 1 <= len(latency.values) <= 30 and 0 < np.median(latency.values) < 5
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == len(latency.values)
    assert (frames[0].width, frames[0].height) == (128, 64)
    assert 0 <= frames[0].time and frames[-1].time < 1.3 + 5, "shown at the times at which they were seen"
    crop = frames[-1].to_ndarray(format="rgb24")[:, :64]
    assert np.abs(crop.astype(int) - frames[0].to_ndarray(format="rgb24")[:, :64]).mean() < 25, (
        "the face stays in the middle"
    )
    assert read_credentials(tmp_path / "out.mp4").source_type == "compositeWithTrainedAlgorithmicMedia", (
        "the driver too"
    )
    said = capsys.readouterr().out
    assert "frames/s, latency" in said and "ms (median)" in said and "(95 %)" in said


def test_it_ends_when_the_time_is_over(tmp_path: Path, model: Path) -> None:
    video = walk(tmp_path / "camera.mp4", 100)
    begin = time.perf_counter()
    run_live(
        model=model,
        source=str(video),
        output=str(tmp_path / "o.mp4"),
        device="cpu",
        seconds=0.2,
        settings=LiveSettings(height=64),
    )
    assert time.perf_counter() - begin < 4


def test_old_pictures_are_left_out(tmp_path: Path) -> None:
    images = [np.full((48, 64, 3), 5 * step, np.uint8) for step in range(40)]
    video = write_video(tmp_path / "c.mp4", images, rate=100)
    numbers, ages = [], []
    with open_camera(str(video)) as pictures:
        for picture in pictures:
            ages.append(time.perf_counter() - picture.captured)
            numbers.append(picture.number)
            assert picture.image[10, 10].mean() == pytest.approx(5 * picture.number, abs=4)
            time.sleep(0.05)
    assert len(numbers) < 30 and sorted(set(numbers)) == numbers
    assert numbers[-1] == 39, "the last one is always shown"


class Scripted:
    """A finder that finds what it is told to."""

    def __init__(self, script: list[list[tuple[float, float]]]) -> None:
        self._script = iter(script)

    def find(self, image: np.ndarray) -> list[Face]:
        grid = (
            np.stack(np.meshgrid(np.linspace(0, 40, 22), np.linspace(0, 40, 22)), axis=2)
            .reshape(-1, 2)[:478]
            .astype(np.float32)
        )
        return [Face(grid + np.float32(place), 0.9) for place in next(self._script)]


def test_the_square_follows_one_face_and_stays_when_it_is_gone() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.rectangle(image, (0, 0), (159, 239), (255, 0, 0), -1)
    cv2.rectangle(image, (160, 0), (319, 239), (0, 0, 255), -1)
    follow = Follower(Scripted([[], [(40, 100)], [(240, 100), (42, 100)], [], [(240, 100)]]), 32, LiveSettings())
    assert follow(image, 0.0) is None
    for step in range(3):
        crop = follow(image, 0.04 * (step + 1))
        assert crop.shape == (32, 32, 3) and crop[16, 16].tolist() == [255, 0, 0], (
            "the red side, whoever is listed first"
        )
    late = follow(image, 10.0)
    assert late[16, 24].tolist() == [0, 0, 255], "alone and elsewhere: that face is followed now"


def test_the_square_is_calm(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shaky = [[tuple(np.array([100.0, 100.0]) + rng.normal(0, 1.5, 2))] for _ in range(60)]
    follow = Follower(Scripted(shaky), 32, LiveSettings())
    squares = []
    for step in range(60):
        follow(np.zeros((240, 320, 3), np.uint8), step / 30)
        squares.append((follow._square.centre_x, follow._square.centre_y))
    assert np.std(squares[30:], axis=0).max() < 0.75, "half of the detector's tremble at most"


def test_what_is_not_there(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = walk(tmp_path / "camera.mp4", 3)
    given = dict(model=model, device="cpu", settings=LiveSettings(height=64))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UserError, match=r"no display here \(DISPLAY is not set\); give --output PATH.mp4"):
        run_live(source=str(video), output="window", **given)
    with pytest.raises(UserError, match=r"--output: 'screen\.avi'; allowed: window, virtual-camera"):
        run_live(source=str(video), output="screen.avi", **given)
    with pytest.raises(UserError, match="there is no camera 97"):
        run_live(source="97", output=str(tmp_path / "o.mp4"), **given)
    with pytest.raises(UserError, match=r"absent\.mp4: no such file"):
        run_live(source=str(tmp_path / "absent.mp4"), output=str(tmp_path / "o.mp4"), **given)
    empty = write_video(tmp_path / "empty.mp4", [texture(120, 160)] * 3)
    with pytest.raises(UserError, match="no face was seen"):
        run_live(source=str(empty), output=str(tmp_path / "o.mp4"), **given)
    assert not (tmp_path / "o.mp4").exists()


def test_virtual_camera_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reenact.rendering.screens.find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match=r"pip install 'reenact\[virtual-camera\]'"),
        open_screen("virtual-camera", 64, 64),
    ):
        pass


@pytest.mark.skipif(os.name != "posix" or any(Path("/dev").glob("video*")), reason="this machine has a camera")
def test_no_virtual_camera_on_this_machine() -> None:
    pytest.importorskip("pyvirtualcam")
    with (
        pytest.raises(UserError, match=r"none can be opened .* or give --output PATH.mp4"),
        open_screen("virtual-camera", 64, 64),
    ):
        pass


def test_headless_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(UserError, match="opencv-python-headless"), open_screen("window", 64, 64):
        pass


def test_the_finder_has_what_the_follower_needs() -> None:
    with FaceFinder() as finder:
        follow = Follower(finder, 64, LiveSettings())
        crop = follow(portrait(size=256), 0.0)
    assert crop is not None and crop.shape == (64, 64, 3)


def test_what_a_screen_shows_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @contextmanager
    def screen() -> Iterator[Show]:
        yield lambda image, time: seen.append(image) or True

    monkeypatch.setattr(screens, "_window", screen)
    image = texture(256, 256)
    for stamp in (None, Stamp(Watermark(), 7, "1")):
        with open_screen("window", 256, 256, stamp) as show:
            assert show(image, 0.0)
    assert np.array_equal(seen[0], image)
    assert 0.2 < np.abs(seen[1].astype(int) - image).mean() < 3


@pytest.mark.parametrize("enabled", [True, False])
def test_recordings_are_signed_unless_told_otherwise(tmp_path: Path, model: Path, enabled: bool) -> None:
    settings = LiveSettings(height=64, mark={"enabled": enabled})
    video = walk(tmp_path / "camera.mp4", 10)
    run_live(model=model, source=str(video), output=str(tmp_path / "o.mp4"), device="cpu", settings=settings)
    found = read_credentials(tmp_path / "o.mp4")
    assert (found.state, found.ours) == (("intact", True) if enabled else ("none", False))
    if enabled:
        assert found.facts["consent"] == "not stated" and found.source_type == "trainedAlgorithmicMedia"


def test_live_follows_the_pose_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    avatar, crop = Avatar(narrow_avatar(), {}, torch.device("cpu")), portrait()
    poses = [torch.zeros(1, avatar.pose_dim), *(20 * torch.eye(avatar.pose_dim)[:2]).split(1)]

    def shown(pose: dict) -> list[np.ndarray]:
        following = iter(poses)
        monkeypatch.setattr(avatar, "pose_embedding", lambda _: next(following))
        puppet = Puppet(avatar, None, LiveSettings(height=64, pose=pose))
        return [puppet(crop).astype(int) for _ in poses]

    own = to_bytes(avatar.render(None)[0][0].permute(1, 2, 0).numpy())
    still = shown({"gains": dict.fromkeys(PARTS, 0.0)})
    assert all(np.abs(picture - own).max() <= 1 for picture in still)
    relative = shown({"relative": True})
    assert np.abs(relative[0] - own).max() <= 1, "the first face is the driver's neutral one so far"
    assert np.abs(relative[1] - relative[2]).max() > 1


def test_live_refuses_a_model_that_cannot_do_it_before_it_opens_the_camera(tmp_path: Path, model: Path) -> None:
    settings = LiveSettings(height=64, pose={"follow": "expression_only"})
    with pytest.raises(UserError, match="constant family knows no parts of a face"):
        run_live(
            model=model,
            source=str(tmp_path / "absent.mp4"),
            output=str(tmp_path / "o.mp4"),
            device="cpu",
            settings=settings,
        )
