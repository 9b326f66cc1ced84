"""Encoding: frame counts, times and durations as given; the right stretch of sound, in step with the pictures."""

from pathlib import Path

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pytest

from reenact.encode import add_audio, write_video
from reenact.errors import UserError

BEEP = 2.0
"""Where the clapper's beep starts in its file, s."""

FORMATS = [("mp4", "aac"), ("mp3.mkv", "libmp3lame"), ("webm", "libopus"), ("mov", "pcm_s16le"), ("avi", "libmp3lame"), ("ts", "aac")]


def picture(step: int) -> np.ndarray:
    image = np.full((64, 96, 3), 40, np.uint8)
    image[:, : 3 * step] = (200, 30, 60)
    return image


def write(path: Path, times: list[float], last: float) -> None:
    ends = [*times[1:], times[-1] + last]
    with write_video(path, 96, 64, preset="ultrafast") as writer:
        for step, (time, end) in enumerate(zip(times, ends)):
            writer.add(picture(step), time, end - time)


def read(path: Path) -> tuple[list[float], float, list[np.ndarray]]:
    """Frame times and duration of the picture stream, s, and the frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return [frame.time for frame in frames], float(stream.duration * stream.time_base), [f.to_ndarray(format="rgb24") for f in frames]


def beep(path: Path) -> tuple[float, float]:
    """Start of the beep and end of the sound, s, on the file's own clock (Opus and AAC delays are in the frame times)."""
    with av.open(str(path)) as container:
        loud, end = [], 0.0
        for frame in container.decode(audio=0):
            level = np.abs(frame.to_ndarray().astype(np.float64))
            if not frame.format.is_planar:
                level = level.reshape(1, -1)[:, :: frame.layout.nb_channels]
            scale = 1.0 if frame.format.name.startswith("flt") else 32768.0
            loud += [frame.time + i / frame.sample_rate for i in np.flatnonzero(level.max(axis=0) / scale > 0.02)]
            end = frame.time + frame.samples / frame.sample_rate
        return (loud[0] if loud else float("nan")), end


def clapper(path: Path, codec: str) -> None:
    """3 s: black with a silent sound, at BEEP a white frame and a beep of 40 ms."""
    flash = ffmpeg.input("color=black:s=64x64:r=25:d=3", f="lavfi").filter("drawbox", color="white", t="fill", enable=f"between(t,{BEEP - 0.01},{BEEP + 0.02})")
    sound = ffmpeg.input("sine=1000:r=48000:d=3", f="lavfi").filter("volume", volume=0, enable=f"not(between(t,{BEEP},{BEEP + 0.04}))")
    command = ffmpeg.output(flash, sound, str(path), vcodec="mpeg4", acodec=codec) if path.suffix != ".webm" else ffmpeg.output(
        flash, sound, str(path), vcodec="libvpx", acodec=codec
    )
    command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True, overwrite_output=True)


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


@pytest.mark.parametrize(("suffix", "codec"), FORMATS)
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_sound_in_step(tmp_path: Path, suffix: str, codec: str, start: float) -> None:
    media, silent, video = tmp_path / f"clap.{suffix}", tmp_path / "silent.mp4", tmp_path / "out.mp4"
    clapper(media, codec)
    with av.open(str(media)) as container:
        shown = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    first = min(time for time, _ in shown if time >= shown[0][0] + start - 1e-6)
    flash = next(time for time, level in shown if level > 128) - first
    write(silent, [step / 25 for step in range(60)], 1 / 25)
    add_audio(silent=silent, media=media, start=first, duration=60 / 25, video=video)
    heard, end = beep(video)
    assert heard == pytest.approx(flash, abs=0.02), "within half a frame"
    assert end == pytest.approx(min(60 / 25, 3 - start), abs=0.05)
    times, duration, _ = read(video)
    assert times == pytest.approx([step / 25 for step in range(60)], abs=1e-3)
    assert duration == pytest.approx(60 / 25, abs=1e-3)


def test_codecs_are_copied_where_they_can_be(tmp_path: Path) -> None:
    write(tmp_path / "silent.mp4", [0, 0.5], 0.5)
    for suffix, codec, expected in [("mp4", "aac", "aac"), ("avi", "libmp3lame", "mp3"), ("mov", "pcm_s16le", "aac")]:
        clapper(tmp_path / f"c.{suffix}", codec)
        add_audio(silent=tmp_path / "silent.mp4", media=tmp_path / f"c.{suffix}", start=0, duration=1, video=tmp_path / "o.mp4")
        with av.open(str(tmp_path / "o.mp4")) as container:
            assert container.streams.audio[0].codec.canonical_name == expected


def test_sound_that_cannot_be_had(tmp_path: Path) -> None:
    write(tmp_path / "silent.mp4", [0, 0.5], 0.5)
    (tmp_path / "text.mp4").write_text("not a video")
    for media, message in [("absent.mp4", "does not exist"), ("silent.mp4", "no sound"), ("text.mp4", "cannot be read")]:
        with pytest.raises(UserError, match=message):
            add_audio(silent=tmp_path / "silent.mp4", media=tmp_path / media, start=0, duration=1, video=tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()
