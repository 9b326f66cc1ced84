"""Rendering: exactly the driver's frames and times, its sound, and never half a file."""

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch
from person_clips import swaying

from reenact import render
from reenact.clip import write_clip
from reenact.errors import UserError
from reenact.model import Reenactor, save_model
from reenact.networks.architecture import PRESETS
from reenact.settings.render import RenderSettings

START = 0.5
"""Where the driver's stretch starts in its file, s."""


class Negative:
    """An avatar that answers each frame with its negative at 64 px."""

    image_size = 64

    @classmethod
    def load(cls, path: Path, device: str) -> "Negative":
        return cls()

    def drive(self, frames: Iterable[np.ndarray], batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        batch = []
        for frame in frames:
            batch.append(frame)
            if len(batch) == batch_size:
                yield from ((255 - f[::4, ::4], np.full((64, 64), 255, np.uint8)) for f in batch)
                batch = []
        yield from ((255 - f[::4, ::4], np.full((64, 64), 255, np.uint8)) for f in batch)


def write_driver(folder: Path, frames: Iterable[np.ndarray], times: list[float], last: float, audio: bool) -> dict[str, Path]:
    """Crops, source.json and (with sound) the media of a driver; returns render_pair's paths."""
    durations = [*np.diff(times).tolist(), last]
    table = pd.DataFrame({
        "index": range(len(times)), "time": times, "source_time": [START + t for t in times], "duration": durations,
        "role": "drive", "image": [f"{i:06d}.png" for i in range(len(times))],
    })
    with write_clip(folder / "crops.zip") as writer:
        for name, frame in zip(table["image"], frames):
            writer.add(name, frame)
        writer.finish(table)
    (folder / "source.json").write_text(json.dumps({"audio": audio}))
    if audio:
        sound = ffmpeg.input(f"sine=440:d={START + times[-1] + last + 1}", f="lavfi")
        sound.output(str(folder / "driver.m4a"), acodec="aac").run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    return dict(
        driver_crops=folder / "crops.zip", driver_media=folder / "driver.m4a", driver_source=folder / "source.json",
        video=folder / "out" / "a.mp4", side_by_side=folder / "out" / "a.side_by_side.mp4", model=folder / "model.safetensors", device="cpu",
    )


def test_frames_times_sound_and_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "Avatar", Negative)
    frames = swaying(11)
    times = [0.0, *np.cumsum([0.04, 0.04, 0.1, 0.033, 0.033, 0.2, 0.04, 0.04, 0.04, 0.04]).tolist()]
    paths = write_driver(tmp_path, frames, times, last=0.12, audio=True)
    render.render_pair(**paths, settings=RenderSettings(height=128, batch_size=4, preset="ultrafast"))
    for path, width in ((paths["video"], 128), (paths["side_by_side"], 256)):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert float(stream.duration * stream.time_base) == pytest.approx(times[-1] + 0.12, abs=1e-3)
            sound = container.streams.audio[0]
            assert sound.codec.canonical_name == "aac"
            assert float(sound.duration * sound.time_base) == pytest.approx(times[-1] + 0.12, abs=0.05)
            shown = list(container.decode(stream))
        assert [frame.time for frame in shown] == pytest.approx(times, abs=1e-3)
        assert (shown[0].width, shown[0].height) == (width, 128)
        for frame, crop in zip(shown, frames):
            picture, small = frame.to_ndarray(format="rgb24")[:, -128:].astype(int), crop[::2, ::2].astype(int)
            assert np.abs(picture - (255 - small)).mean() < 20, "the avatar of this very frame"
            if width == 256:
                assert np.abs(frame.to_ndarray(format="rgb24")[:, :128].astype(int) - small).mean() < 12, "driver on the left"


@pytest.mark.parametrize(("has", "wanted"), [(False, "driver"), (True, "none")])
def test_no_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: bool, wanted: str) -> None:
    monkeypatch.setattr(render, "Avatar", Negative)
    paths = write_driver(tmp_path, swaying(3), [0, 0.04, 0.08], last=0.04, audio=has)
    render.render_pair(**paths, settings=RenderSettings(audio=wanted, preset="ultrafast"))
    for path in (paths["video"], paths["side_by_side"]):
        with av.open(str(path)) as container:
            assert not container.streams.audio
            assert container.streams.video[0].frames == 3


def test_nothing_is_left_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "Avatar", Negative)
    paths = write_driver(tmp_path, swaying(3), [0, 0.04, 0.08], last=0.04, audio=True)
    paths["driver_media"].unlink()
    with pytest.raises(UserError, match=r"driver\.m4a: does not exist"):
        render.render_pair(**paths, settings=RenderSettings())
    paths["driver_media"].write_text("not a video")
    with pytest.raises(UserError, match=r"driver\.m4a: cannot be read"):
        render.render_pair(**paths, settings=RenderSettings())
    assert not paths["video"].exists() and not paths["side_by_side"].exists()
    assert [p for p in tmp_path.rglob("*.mp4")] == []


def test_a_driver_without_frames(tmp_path: Path) -> None:
    paths = write_driver(tmp_path, swaying(1), [0], last=0.04, audio=False)
    with write_clip(paths["driver_crops"]) as writer:
        writer.finish(pd.DataFrame({"index": [0], "time": [0], "role": ["drive"], "image": [""]}))
    with pytest.raises(UserError, match="no frame to drive with"):
        render.render_pair(**paths, settings=RenderSettings())


def test_with_a_real_avatar(tmp_path: Path) -> None:
    torch.manual_seed(0)
    paths = write_driver(tmp_path, swaying(5), [i / 25 for i in range(5)], last=0.04, audio=False)
    save_model(paths["model"], Reenactor(PRESETS["small"], personal=True), {})
    render.render_pair(**paths, settings=RenderSettings(height=64, preset="ultrafast"))
    with av.open(str(paths["side_by_side"])) as container:
        assert container.streams.video[0].frames == 5


def test_memory_does_not_grow_with_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "Avatar", Negative)
    peaks, frame = [], swaying(1)[0]
    for count in (30, 180):
        folder = tmp_path / str(count)
        folder.mkdir()
        paths = write_driver(folder, [frame] * count, [i / 25 for i in range(count)], last=0.04, audio=False)
        tracemalloc.start()
        render.render_pair(**paths, settings=RenderSettings(height=64, preset="ultrafast"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6, "150 more frames of 0.2 MB each"
