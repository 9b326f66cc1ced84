"""Rendering: exactly the driver's frames, times and sound, in every kind of output, and never half a file."""

import json
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch
from face_shapes import narrow_avatar
from person_clips import oval, swaying, write_person
from torch import Tensor
from torch.nn import functional

from reenact.data.clip import Clip, write_clip
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.pose_edit import PoseEdit
from reenact.models.reenactor import Reenactor
from reenact.rendering.encode import write_video
from reenact.rendering.sound import add_audio
from reenact.runtime.errors import UserError
from reenact.settings.mark import MarkSettings
from reenact.settings.render import RenderSettings
from reenact.stages import render

NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"
"""A model file without tensors; `Negative` reads none."""

START = 0.5
"""Where the driver's stretch starts in its file, s."""

MATTE = torch.from_numpy(oval(64) / 255).float()


class Negative:
    """An avatar that answers each frame with its negative at 64 px inside an oval; its pose descriptor is the frame."""

    personal = True
    pose_dim = 3 * 64 * 64
    precision = "fp32"

    @classmethod
    def load(cls, path: Path, device: str, precision: str) -> "Negative":
        return cls()

    def check_edit(self, edit: PoseEdit) -> None:
        assert edit.does_nothing

    def pose_embedding(self, frames: Tensor) -> Tensor:
        return functional.interpolate(frames, (64, 64), mode="area").flatten(1)

    def render(self, pose: Tensor, identity: Tensor | None, edit: PoseEdit) -> tuple[Tensor, Tensor]:
        return (1 - pose.view(-1, 3, 64, 64)) * MATTE, MATTE.expand(len(pose), 1, 64, 64)


@pytest.fixture
def negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "Avatar", Negative)


def write_driver(
    folder: Path, frames: Iterable[np.ndarray], times: list[float], last: float, audio: bool
) -> dict[str, Any]:
    """Crops, source.json and (with sound) the media of a driver; returns render_pair's paths."""
    durations = [*np.diff(times).tolist(), last]
    table = pd.DataFrame(
        {
            "index": range(len(times)),
            "time": times,
            "source_time": [START + t for t in times],
            "duration": durations,
            "role": "drive",
            "image": [f"{i:06d}.png" for i in range(len(times))],
        }
    )
    with write_clip(folder / "crops.zip") as writer:
        for name, frame in zip(table["image"], frames, strict=True):
            writer.add(name, frame)
        writer.finish(table)
    (folder / "source.json").write_text(json.dumps({"audio": audio}))
    (folder / "model.safetensors").write_bytes(NO_WEIGHTS)
    if audio:
        sound = ffmpeg.input(f"sine=440:d={START + times[-1] + last + 1}", f="lavfi")
        sound.output(str(folder / "driver.m4a"), acodec="aac").run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    return dict(
        driver=render.DriverFiles(folder / "crops.zip", folder / "driver.m4a", folder / "source.json"),
        stem=folder / "out" / "a",
        model=folder / "model.safetensors",
        device="cpu",
    )


def shown(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times and RGB pictures of a video."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.time for frame in frames], [frame.to_ndarray(format="rgb24").astype(int) for frame in frames]


def answer(crop: np.ndarray, side: int = 128) -> np.ndarray:
    """What `Negative` makes of a crop, on black."""
    small = cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA)
    return cv2.resize((255 - small) * (oval(64)[..., None] / 255), (side, side), interpolation=cv2.INTER_CUBIC).clip(
        0, 255
    )


def test_frames_times_sound_and_places(tmp_path: Path, negative: None) -> None:
    frames = swaying(11)
    times = [0.0, *np.cumsum([0.04, 0.04, 0.1, 0.033, 0.033, 0.2, 0.04, 0.04, 0.04, 0.04]).tolist()]
    paths = write_driver(tmp_path, frames, times, last=0.12, audio=True)
    person, _ = write_person(tmp_path / "person", [np.full((256, 256, 3), 200, np.uint8)], ["train"])
    render.render_pair(
        **paths, identity_crops=person, settings=RenderSettings(height=128, batch_size=4, preset="ultrafast")
    )
    for suffix, width in ((".mp4", 128), (".side_by_side.mp4", 384)):
        path = paths["stem"].with_name("a" + suffix)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert float(stream.duration * stream.time_base) == pytest.approx(times[-1] + 0.12, abs=1e-3)
            sound = container.streams.audio[0]
            assert sound.codec.canonical_name == "aac"
            assert float(sound.duration * sound.time_base) == pytest.approx(times[-1] + 0.12, abs=0.05)
        found, pictures = shown(path)
        assert found == pytest.approx(times, abs=1e-3)
        assert pictures[0].shape == (128, width, 3)
        for picture, crop in zip(pictures, frames, strict=True):
            assert np.abs(picture[:, -128:] - answer(crop)).mean() < 6, "the avatar of this very frame"
            if width == 384:
                assert np.abs(picture[:, 128:256] - crop[::2, ::2].astype(int)).mean() < 12, "the driver in the middle"
                assert np.abs(picture[8:-8, 8:120] - 200).max() < 12, "the person on the left"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.json", "a.mp4", "a.side_by_side.mp4"]


@pytest.mark.parametrize(("has", "wanted"), [(False, "driver"), (True, "none")])
def test_no_sound(tmp_path: Path, negative: None, has: bool, wanted: str) -> None:
    paths = write_driver(tmp_path, swaying(3), [0, 0.04, 0.08], last=0.04, audio=has)
    render.render_pair(**paths, settings=RenderSettings(audio=wanted, preset="ultrafast"))
    for suffix, width in ((".mp4", 256), (".side_by_side.mp4", 512)):
        with av.open(str(paths["stem"].with_name("a" + suffix))) as container:
            assert not container.streams.audio
            assert (container.streams.video[0].frames, container.streams.video[0].width) == (3, width), (
                "without the person's crops: two panels"
            )


def test_nothing_is_left_when_it_fails(tmp_path: Path, negative: None, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_driver(tmp_path, swaying(3), [0, 0.04, 0.08], last=0.04, audio=True)
    monkeypatch.setattr(Negative, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        render.render_pair(**paths, settings=RenderSettings(outputs=["avatar", "frames", "alpha"]))
    paths["driver"].media.unlink()
    with pytest.raises(UserError, match=r"driver\.m4a: does not exist"):
        render.render_pair(**paths, settings=RenderSettings())
    paths["driver"].media.write_text("not a video")
    with pytest.raises(UserError, match=r"driver\.m4a: cannot be read"):
        render.render_pair(**paths, settings=RenderSettings())
    assert list((tmp_path / "out").iterdir()) == []


def test_mistakes(tmp_path: Path) -> None:
    paths = write_driver(tmp_path, swaying(2), [0, 0.04], last=0.04, audio=False)
    for settings, message in [
        ({"outputs": ["pasted"]}, r"crops\.zip: the avatar cannot be pasted.*m4a"),
        ({"outputs": ["on_background"], "background": "absent.png"}, "absent.png: no such file"),
        ({"audio": "absent.wav"}, "absent.wav: does not exist"),
        ({"encoder": "h264_amf"}, "render.encoder: 'h264_amf'"),
    ]:
        if "pasted" in settings.get("outputs", []):
            with write_video(tmp_path / "driver.mp4", 64, 64) as writer:
                writer.add(np.zeros((64, 64, 3), np.uint8), 0, 1)
            paths["driver"] = replace(paths["driver"], media=tmp_path / "driver.mp4")
            message = r"crops\.zip: the avatar cannot be pasted.*driver\.mp4.*frame_height, frame_width, side, x, y"
        with pytest.raises(UserError, match=message):
            render.render_pair(**paths, settings=RenderSettings(**settings))
    torch.manual_seed(0)
    save_model(paths["model"], Reenactor(PRESETS["small"]), {})
    with pytest.raises(UserError, match=r"model\.safetensors: is a meta-model.*--identity-crops"):
        render.render_pair(**paths, settings=RenderSettings())
    save_model(paths["model"], Reenactor(PRESETS["small"], personal=True), {})
    for pose in ({"follow": "head_only"}, {"relative": True}, {"retarget": ["lips"]}, {"controls": {"smile": 0.5}}):
        with pytest.raises(UserError, match="a model of the constant family knows no parts of a face"):
            render.render_pair(**paths, settings=RenderSettings(pose=pose))
    assert not (tmp_path / "out").exists()


def test_parts_of_the_driver_are_followed(tmp_path: Path) -> None:
    paths = write_driver(tmp_path, swaying(4), [i / 25 for i in range(4)], last=0.04, audio=False)
    save_model(paths["model"], narrow_avatar(), {})
    still = {"gains": dict.fromkeys(("mouth", "eyes", "brows", "head"), 0.0)}
    for pose in (still, {"relative": True, "retarget": ["eyes", "lips"], "follow": "expression_only"}):
        settings = RenderSettings(outputs=["avatar"], height=64, crf=0, preset="ultrafast", pose=pose)
        render.render_pair(**paths, settings=settings, mark=MarkSettings(enabled=False))
        _, pictures = shown(paths["stem"].with_name("a.mp4"))
        assert len(pictures) == 4
        if pose is still:
            assert max(np.abs(picture - pictures[0]).max() for picture in pictures) <= 2


def test_a_driver_without_frames(tmp_path: Path) -> None:
    paths = write_driver(tmp_path, swaying(1), [0], last=0.04, audio=False)
    with write_clip(paths["driver"].crops) as writer:
        writer.finish(pd.DataFrame({"index": [0], "time": [0], "role": ["drive"], "image": [""]}))
    with pytest.raises(UserError, match="no frame to drive with"):
        render.render_pair(**paths, settings=RenderSettings())


@pytest.mark.parametrize("personal", [True, False])
def test_with_a_real_model(tmp_path: Path, personal: bool) -> None:
    torch.manual_seed(0)
    paths = write_driver(tmp_path, swaying(5), [i / 25 for i in range(5)], last=0.04, audio=False)
    person, _ = write_person(tmp_path / "person", swaying(3), ["train"] * 3)
    save_model(paths["model"], Reenactor(PRESETS["small"], personal=personal), {})
    render.render_pair(**paths, identity_crops=person, settings=RenderSettings(height=64, preset="ultrafast"))
    with av.open(str(paths["stem"].with_name("a.side_by_side.mp4"))) as container:
        assert container.streams.video[0].frames == 5


def test_memory_does_not_grow_with_length(tmp_path: Path, negative: None) -> None:
    peaks, frame = [], swaying(1)[0]
    for count in (60, 150):
        folder = tmp_path / str(count)
        folder.mkdir()
        paths = write_driver(folder, [frame] * count, [i / 25 for i in range(count)], last=0.04, audio=False)
        tracemalloc.start()
        render.render_pair(**paths, settings=RenderSettings(height=64, preset="ultrafast", batch_size=2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6, "90 more frames of 0.2 MB each"


# ---- a clapper: every kind of output, at every kind of frame rate -------------------------------------------

RATES = {
    "25": [step / 25 for step in range(50)],
    "29.97": [step * 1001 / 30000 for step in range(60)],
    "variable": np.cumsum([0.0, *np.random.default_rng(3).choice([0.02, 1001 / 30000, 0.05, 0.04], 55)]).tolist(),
}
KINDS = {
    "avatar": (".mp4", "h264", "yuv420p"),
    "side_by_side": (".side_by_side.mp4", "h264", "yuv420p"),
    "alpha": (".alpha.mov", "prores", "yuva444p12le"),
    "on_background": (".on_background.mp4", "h264", "yuv420p"),
    "pasted": (".pasted.mp4", "h264", "yuv420p"),
}
FLASH = 30
"""Frame of the clapper's flash; the beep starts with it."""
SQUARE = dict(x=40.0, y=10.0, side=96.0, frame_width=160, frame_height=120)


def clapper(folder: Path, times: list[float], start: int) -> dict[str, Any]:
    """A white driver that is black for one frame (its negative flashes), with a beep; its frames from `start` on."""
    level = [0 if step == FLASH else 255 for step in range(len(times))]
    ends = [*times[1:], times[-1] + 0.04]
    with write_video(folder / "silent.mp4", 160, 120, preset="ultrafast") as writer:
        for value, time, end in zip(level, times, ends, strict=True):
            writer.add(np.full((120, 160, 3), value, np.uint8), time, end - time)
    beep = ffmpeg.input(f"sine=1000:r=48000:d={ends[-1]}", f="lavfi")
    beep = beep.filter("volume", volume=0, enable=f"not(between(t,{times[FLASH]},{times[FLASH] + 0.03}))")
    beep.output(str(folder / "beep.wav")).run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    add_audio(
        silent=folder / "silent.mp4", media=folder / "beep.wav", start=0, duration=ends[-1], video=folder / "driver.mp4"
    )
    rows = range(start, len(times))
    table = pd.DataFrame(
        {
            "index": rows,
            "time": [times[r] - times[start] for r in rows],
            "source_time": [times[r] for r in rows],
            "duration": [ends[r] - times[r] for r in rows],
            "role": "drive",
            "image": [f"{r:06d}.png" for r in rows],
            **SQUARE,
        }
    )
    with write_clip(folder / "crops.zip") as crops:
        for r, name in zip(rows, table["image"], strict=True):
            crops.add(name, np.full((64, 64, 3), level[r], np.uint8))
        crops.finish(table)
    (folder / "source.json").write_text(json.dumps({"audio": True}))
    (folder / "model.safetensors").write_bytes(NO_WEIGHTS)
    return dict(
        driver=render.DriverFiles(folder / "crops.zip", folder / "driver.mp4", folder / "source.json"),
        stem=folder / "out" / "clap",
        model=folder / "model.safetensors",
        device="cpu",
    )


def heard(path: Path) -> float:
    """When the beep begins in a video, s."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            level = np.abs(frame.to_ndarray()[:1])
            if (level > 0.02).any():
                return frame.time + int(np.argmax(level > 0.02)) / frame.sample_rate
    return float("nan")


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("rate", RATES)
def test_every_output_at_every_rate(tmp_path: Path, negative: None, rate: str, start: int) -> None:
    times = RATES[rate]
    paths = clapper(tmp_path, times, start)
    background = "#0000ff"
    settings = RenderSettings(
        outputs=[*KINDS, "frames"], height=64, preset="ultrafast", background=background, feather=0.1
    )
    render.render_pair(**paths, settings=settings)
    wanted = [time - times[start] for time in times[start:]]
    for kind, (suffix, codec, pix_fmt) in KINDS.items():
        path = paths["stem"].with_name("clap" + suffix)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.codec.canonical_name, stream.codec_context.pix_fmt) == (codec, pix_fmt), kind
            assert float(stream.duration * stream.time_base) == pytest.approx(wanted[-1] + 0.04, abs=1e-3), (
                "to the frame"
            )
        found, pictures = shown(path)
        assert found == pytest.approx(wanted, abs=1e-3), kind
        height, width = pictures[0].shape[:2]
        middle = [
            picture[height // 2 - 2, -32 if kind == "side_by_side" else 88 if kind == "pasted" else width // 2].mean()
            for picture in pictures
        ]
        assert int(np.argmax(middle)) == FLASH - start and np.sum(np.array(middle) > 128) == 1, kind
        assert abs(heard(path) - found[FLASH - start]) < 0.02, (
            f"{kind}: less than a frame of 1/50 s between flash and beep"
        )
    table = pd.read_csv(paths["stem"].with_name("clap.frames") / "times.csv")
    assert table["time"].tolist() == pytest.approx(wanted) and table["index"].tolist() == list(range(start, len(times)))
    check_pictures(paths["stem"], FLASH - start)


def check_pictures(stem: Path, flash: int) -> None:
    """The flash frame of each kind: white inside the oval, and what belongs behind it."""
    png = cv2.imread(str(stem.with_name("clap.frames") / f"{FLASH:06d}.png"), cv2.IMREAD_UNCHANGED)
    assert png.shape == (64, 64, 4) and np.abs(png[..., 3].astype(int) - oval(64)).max() <= 1
    assert png[oval(64) > 0][:, :3].min() > 250, "straight: white up to the edge"
    on_blue = shown(stem.with_name("clap.on_background.mp4"))[1][flash]
    assert np.abs(on_blue[2, 2] - [0, 0, 255]).max() < 12 and on_blue[32, 32].min() > 240
    pasted = shown(stem.with_name("clap.pasted.mp4"))[1]
    assert pasted[flash].shape == (120, 160, 3)
    assert pasted[flash][58, 88].min() > 240 and pasted[flash][5, 5].max() < 16, (
        "the avatar in the square, the driver around it"
    )
    assert pasted[flash - 1][58, 88].max() < 16 and pasted[flash - 1][5, 5].min() > 240


def test_transparent_webm_with_sound(tmp_path: Path, negative: None) -> None:
    paths = clapper(tmp_path, RATES["29.97"], 7)
    render.render_pair(**paths, settings=RenderSettings(outputs=["alpha"], alpha="vp9", height=64))
    path = paths["stem"].with_name("clap.alpha.webm")
    found, pictures = shown(path)
    assert found == pytest.approx([t - RATES["29.97"][7] for t in RATES["29.97"][7:]], abs=2e-3)
    assert int(np.argmax([p[30, 32].mean() for p in pictures])) == FLASH - 7
    assert abs(heard(path) - found[FLASH - 7]) < 0.02
    with av.open(str(path)) as container:
        decoder = av.codec.CodecContext.create("libvpx-vp9", "r")  # ffmpeg's own leaves alpha out
        decoded = [frame for packet in container.demux(video=0) for frame in decoder.decode(packet)]
        alpha = decoded[FLASH - 7].reformat(format="rgba").to_ndarray()[..., 3]
        assert np.abs(alpha.astype(int) - oval(64)).mean() < 3, "alpha survives that the sound is added"
        assert b"\x53\xc0\x81\x01" in path.read_bytes(), "the mark (AlphaMode = 1) that browsers look for"
        assert container.streams.audio[0].codec.canonical_name == "opus"


def test_sound_of_a_file(tmp_path: Path, negative: None) -> None:
    paths = clapper(tmp_path, RATES["25"], 7)
    render.render_pair(
        **paths, settings=RenderSettings(outputs=["avatar"], audio=str(tmp_path / "beep.wav"), height=64)
    )
    assert heard(paths["stem"].with_name("clap.mp4")) == pytest.approx(RATES["25"][FLASH], abs=0.02), (
        "from its own beginning"
    )


def test_results_do_not_depend_on_batches_and_threads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    paths = write_driver(tmp_path, swaying(7), [i / 25 for i in range(7)], last=0.04, audio=False)
    save_model(paths["model"], Reenactor(PRESETS["small"], personal=True), {})
    pixels = []
    for size in (2, 8):
        settings = RenderSettings(
            outputs=["frames"], height=64, batch_size=size, pose={"smoothing": "savgol", "window": 5}
        )
        render.render_pair(**paths, settings=settings)
        pixels.append(
            np.stack([cv2.imread(str(f), -1) for f in sorted(paths["stem"].with_name("a.frames").glob("*.png"))])[
                ..., 3
            ].astype(int)
        )
    assert len(pixels[0]) == 7
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


@pytest.mark.parametrize(("pose", "looks"), [({}, 6), ({"intensity": 0.5}, 12)])
def test_frames_are_described_twice_only_where_a_mean_is_needed(
    tmp_path: Path, negative: None, monkeypatch: pytest.MonkeyPatch, pose: dict[str, Any], looks: int
) -> None:
    described, plain = [], Negative.pose_embedding
    monkeypatch.setattr(
        Negative, "pose_embedding", lambda self, frames: (described.append(len(frames)), plain(self, frames))[1]
    )
    paths = write_driver(tmp_path, swaying(6), [i / 25 for i in range(6)], last=0.04, audio=False)
    render.render_pair(**paths, settings=RenderSettings(outputs=["avatar"], height=64, pose=pose))
    assert sum(described) == looks


def test_intensity_zero_stands_still(tmp_path: Path, negative: None) -> None:
    paths = write_driver(tmp_path, swaying(6), [i / 25 for i in range(6)], last=0.04, audio=False)
    render.render_pair(**paths, settings=RenderSettings(outputs=["avatar"], height=64, pose={"intensity": 0}))
    _, pictures = shown(paths["stem"].with_name("a.mp4"))
    assert np.abs(pictures[0] - pictures[-1]).mean() < 1
    crops = Clip(paths["driver"].crops)
    mean = crops.images(crops.table["image"].tolist()).mean(0).astype(np.uint8)
    assert np.abs(pictures[3] - answer(mean, 64)).mean() < 4
