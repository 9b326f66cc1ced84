"""Encoding: frame counts, times and durations as given, in every container; encoders that are not there."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest

from reenact.rendering.encode import check_encoder, encoder_options, write_alpha_video, write_video
from reenact.runtime.errors import UserError
from reenact.settings.render import Encoder


def picture(step: int) -> np.ndarray:
    image = np.full((64, 96, 3), 40, np.uint8)
    image[:, : 3 * step] = (200, 30, 60)
    return image


def write(path: Path, times: list[float], last: float) -> None:
    ends = [*times[1:], times[-1] + last]
    with write_video(path, 96, 64, preset="ultrafast") as writer:
        for step, (time, end) in enumerate(zip(times, ends, strict=True)):
            writer.add(picture(step), time, end - time)


def read(path: Path) -> tuple[list[float], float, list[np.ndarray]]:
    """Frame times and duration of the picture stream, s, and the frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return (
            [frame.time for frame in frames],
            float(stream.duration * stream.time_base),
            [f.to_ndarray(format="rgb24") for f in frames],
        )


def test_constant_rate(tmp_path: Path) -> None:
    times = [step / 25 for step in range(30)]
    write(tmp_path / "a.mp4", times, 1 / 25)
    found, duration, frames = read(tmp_path / "a.mp4")
    assert found == pytest.approx(times, abs=1e-4)
    assert duration == pytest.approx(30 / 25, abs=1e-4)
    assert np.abs(frames[20][32, 30].astype(int) - [200, 30, 60]).max() < 12, "colours survive the way through BT.709"


def test_ntsc_and_variable_times_are_exact(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).choice([1001 / 30000, 0.1, 1 / 24, 0.0417], 40)
    times = [0.0, *np.cumsum(steps).tolist()]
    write(tmp_path / "a.mp4", times, 0.3)
    found, duration, _ = read(tmp_path / "a.mp4")
    assert len(found) == 41
    assert found == pytest.approx(times, abs=1e-3)
    assert duration == pytest.approx(times[-1] + 0.3, abs=1e-3), "the last frame keeps its own duration"


def test_plays_in_browsers(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [0, 0.04], 0.04)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first"


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"):
        with write_video(tmp_path / "a.mp4", 96, 64) as writer:
            writer.add(picture(0), 0, 0.04)
            raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("encoder", "codec", "pix_fmt"), [("libx265", "hevc", "yuv420p10le"), ("libx264", "h264", "yuv444p")]
)
def test_other_encoders_and_pixels(tmp_path: Path, encoder: str, codec: str, pix_fmt: str) -> None:
    times = [0, 0.1, 0.15, 0.4]
    with write_video(tmp_path / "a.mp4", 96, 64, preset="ultrafast", encoder=encoder, pix_fmt=pix_fmt) as writer:
        for step, time in enumerate(times):
            writer.add(picture(step), time, 0.1)
    found, duration, _ = read(tmp_path / "a.mp4")
    assert found == pytest.approx(times, abs=1e-4) and duration == pytest.approx(0.5, abs=1e-3)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt) == (codec, pix_fmt)


def transparent(step: int) -> np.ndarray:
    """Straight alpha: one colour everywhere, opaque to the left, half in the middle, clear to the right."""
    image = np.empty((64, 96, 4), np.uint16)
    image[..., :3] = np.array([200, 30 + 10 * step, 60]) * 257
    image[..., 3] = np.repeat([65535, 32768, 0], 32)
    return image


@pytest.mark.parametrize(("kind", "suffix", "tick"), [("prores", ".mov", 1e-4), ("vp9", ".webm", 6e-4)])
def test_transparent_videos_are_straight_and_exact(tmp_path: Path, kind: str, suffix: str, tick: float) -> None:
    times = [0.0, *np.cumsum([1001 / 30000, 0.1, 1 / 24, 0.0417]).tolist()]
    path = tmp_path / f"a{suffix}"
    with write_alpha_video(path, 96, 64, kind) as writer:
        for step, (time, duration) in enumerate(zip(times, [*np.diff(times), 0.3], strict=True)):
            writer.add(transparent(step), time, duration)
    with av.open(str(path)) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(times[-1] + 0.3, abs=2 * tick)
        stream = container.streams.video[0]
        # ffmpeg's own decoder of VP9 leaves alpha out.
        decoder = stream.codec_context if kind == "prores" else av.codec.CodecContext.create("libvpx-vp9", "r")
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
        assert [float(f.pts * stream.time_base) for f in frames] == pytest.approx(times, abs=tick)
    for step, frame in enumerate(frames):
        assert frame.format.name.startswith("yuva")
        seen = frame.reformat(format="rgba64le", src_colorspace="ITU709").to_ndarray() / 65535
        wanted = transparent(step) / 65535
        assert np.abs(seen[..., 3] - wanted[..., 3])[:, [5, 16, 48, 80, 90]].max() < 0.02
        assert np.abs(seen[..., :3] - wanted[..., :3]).max() < 0.05, (
            "colour is not multiplied by alpha, nor lost where it is clear"
        )


def test_encoders_that_are_not_there() -> None:
    check_encoder("libx264", "yuv420p", 16, "medium")
    with (
        pytest.raises(UserError, match=r"render.encoder: 'h264_videotoolbox' .*libx264")
        if sys.platform != "darwin"
        else nullcontext()
    ):
        check_encoder("h264_videotoolbox", "yuv420p", 16, "medium")
    with pytest.raises(UserError, match=r"render.pix_fmt: 'yuv411p' .*libx264 takes .*yuv420p"):
        check_encoder("libx264", "yuv411p", 16, "medium")


@pytest.mark.parametrize("encoder", get_args(Encoder))
def test_every_encoder_that_may_be_named_runs_or_says_why(encoder: str) -> None:
    for preset in ("ultrafast", "veryfast", "fast", "medium", "slow"):
        assert encoder_options(encoder, 0, preset)["bf"] == "0"
    try:
        check_encoder(encoder, "yuv420p", 16, "medium")
    except UserError as error:
        assert encoder not in ("libx264", "libx265") and "set render.encoder to libx264" in str(error)
