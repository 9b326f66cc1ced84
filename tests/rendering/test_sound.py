"""Sound: the right stretch of it, in step with the pictures, copied where it can be."""

from pathlib import Path

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pytest

from reenact.rendering.encode import write_alpha_video, write_video
from reenact.rendering.sound import add_audio, check_sound
from reenact.runtime.errors import UserError

BEEP = 2.0
"""Where the clapper's beep starts in its file, s."""

FORMATS = [
    ("mp4", "aac"),
    ("mp3.mkv", "libmp3lame"),
    ("webm", "libopus"),
    ("mov", "pcm_s16le"),
    ("avi", "libmp3lame"),
    ("ts", "aac"),
]


def write(path: Path, times: list[float], last: float) -> None:
    """Pictures without sound, in the container that the suffix names."""
    video = (
        write_video(path, 96, 64, preset="ultrafast")
        if path.suffix == ".mp4"
        else write_alpha_video(path, 96, 64, {".mov": "prores", ".webm": "vp9"}[path.suffix])
    )
    image = np.full((64, 96, 3), 40, np.uint8) if path.suffix == ".mp4" else np.full((64, 96, 4), 40000, np.uint16)
    with video as writer:
        for time, end in zip(times, [*times[1:], times[-1] + last], strict=True):
            writer.add(image, time, end - time)


def frame_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def beep(path: Path) -> tuple[float, float]:
    """Start of the beep and end of the sound, s, on the file's own clock, which has the delays of Opus and AAC."""
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
    flash = ffmpeg.input("color=black:s=64x64:r=25:d=3", f="lavfi").filter(
        "drawbox", color="white", t="fill", enable=f"between(t,{BEEP - 0.01},{BEEP + 0.02})"
    )
    sound = ffmpeg.input("sine=1000:r=48000:d=3", f="lavfi").filter(
        "volume", volume=0, enable=f"not(between(t,{BEEP},{BEEP + 0.04}))"
    )
    command = (
        ffmpeg.output(flash, sound, str(path), vcodec="mpeg4", acodec=codec)
        if path.suffix != ".webm"
        else ffmpeg.output(flash, sound, str(path), vcodec="libvpx", acodec=codec)
    )
    command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True, overwrite_output=True)


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
    assert frame_times(video) == pytest.approx([step / 25 for step in range(60)], abs=1e-3)


def test_codecs_are_copied_where_they_can_be(tmp_path: Path) -> None:
    write(tmp_path / "silent.mp4", [0, 0.5], 0.5)
    for suffix, codec, expected in [("mp4", "aac", "aac"), ("avi", "libmp3lame", "mp3"), ("mov", "pcm_s16le", "aac")]:
        clapper(tmp_path / f"c.{suffix}", codec)
        add_audio(
            silent=tmp_path / "silent.mp4",
            media=tmp_path / f"c.{suffix}",
            start=0,
            duration=1,
            video=tmp_path / "o.mp4",
        )
        with av.open(str(tmp_path / "o.mp4")) as container:
            assert container.streams.audio[0].codec.canonical_name == expected


def test_names_that_look_like_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    silent, media, video = Path("0:00.mp4"), Path("12:30.mp4"), Path("1:00.mp4")
    clapper(media.absolute(), "aac")
    write(silent, [0, 0.5], 0.5)
    check_sound(media)
    add_audio(silent=silent, media=media, start=1.5, duration=1, video=video)
    assert beep(video.absolute())[0] == pytest.approx(BEEP - 1.5, abs=0.02)


def test_sound_that_cannot_be_had(tmp_path: Path) -> None:
    write(tmp_path / "silent.mp4", [0, 0.5], 0.5)
    (tmp_path / "text.mp4").write_text("not a video")
    for media, message in [
        ("absent.mp4", "does not exist"),
        ("silent.mp4", "no sound"),
        ("text.mp4", "cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            add_audio(
                silent=tmp_path / "silent.mp4", media=tmp_path / media, start=0, duration=1, video=tmp_path / "o.mp4"
            )
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize(
    ("target", "codec", "expected"),
    [(".mov", "aac", "aac"), (".webm", "aac", "opus"), (".webm", "libopus", "opus"), (".mov", "libopus", "aac")],
)
def test_sound_in_step_in_other_containers(tmp_path: Path, target: str, codec: str, expected: str) -> None:
    media, silent, video = (
        tmp_path / f"clap{'.webm' if codec == 'libopus' else '.mp4'}",
        tmp_path / f"silent{target}",
        tmp_path / f"out{target}",
    )
    clapper(media, codec)
    write(silent, [step / 25 for step in range(40)], 1 / 25)
    add_audio(silent=silent, media=media, start=1.0, duration=40 / 25, video=video)
    with av.open(str(video)) as container:
        assert container.streams.audio[0].codec.canonical_name == expected
    assert beep(video)[0] == pytest.approx(BEEP - 1.0, abs=0.02), "within half a frame"
    assert frame_times(video) == pytest.approx([step / 25 for step in range(40)], abs=1e-3)
