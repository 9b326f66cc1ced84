"""Broken media and broken disks: the good part is used, bad frames are named, and errors are one clear line."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from videos import ffmpeg, plain_video

from reenact.media.frame_table import Stretch
from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError
from reenact.settings.decode import DecodeSettings
from reenact.stages.decode import decode_clip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return plain_video(tmp_path_factory.mktemp("plain"))


def run_stage(media: Path, folder: Path, *flags: str, limit: int | None = None) -> subprocess.CompletedProcess:
    """Stage decode by its command line, as a user runs it."""
    return run(
        "decode",
        "--media",
        media,
        "--frames",
        folder / "frames.csv",
        "--source",
        folder / "source.json",
        "--role",
        "driver",
        *flags,
        limit=limit,
    )


def run(stage: str, *flags: str | Path, limit: int | None = None) -> subprocess.CompletedProcess:
    """A stage by its command line; `limit`: largest file that it may write, bytes."""
    command = [sys.executable, "-m", f"workflow_scripts.{stage}", *map(str, flags)]

    def prepare() -> None:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=prepare, timeout=120)


def damaged(plain: Path, folder: Path, case: str) -> Path:
    data = plain.read_bytes()
    path = folder / f"{case}.mp4"
    if case == "no index":
        ffmpeg("-i", plain, "-c", "copy", path)  # without faststart, the index comes last
        data = path.read_bytes()
        data = data[: len(data) * 2 // 3]
    elif case == "cut off":
        data = data[: len(data) * 2 // 3]
    elif case == "hit":
        middle = len(data) // 2
        data = data[:middle] + bytes(900) + data[middle + 900 :]
    elif case == "zero bytes":
        data = b""
    elif case == "text":
        data = b"Dear diary,\nthis is no video.\n"
    elif case == "sound":
        ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-f", "mp4", path)
        data = path.read_bytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("case", ["cut off", "hit"])
def test_the_good_part_is_used_and_the_bad_frames_are_named(plain, tmp_path, case, threads):
    path = damaged(plain, tmp_path, case)
    damage: list[str] = []
    frames = list(read_frames(probe(path), damage, threads))
    lost = [line for line in damage if line.startswith("frame at ")]
    times = [round(float(line.split()[2]) * 25) for line in lost]
    assert len(times) >= 1 and not set(times) & {round(frame.time * 25) for frame in frames}
    if case == "hit":
        assert len(frames) + len(lost) == 50 and damage == lost
        marked = [round(frame.time * 25) for frame in frames if frame.notes]
        assert marked and all(times[0] <= n < 48 for n in marked)
    else:
        assert 25 < len(frames) < 40 and "though the file's header says 2.00 s" in damage[-1]


def test_damage_is_counted_named_and_said_once(plain, tmp_path):
    path = damaged(plain, tmp_path, "hit")
    result = run_stage(path, tmp_path)
    source = json.loads((tmp_path / "source.json").read_text())
    count = source["damaged_frames"]
    assert result.returncode == 0 and count >= 1 and source["frames"] == 50 - count
    assert any(step.startswith(f"{count} damaged left out: frame at ") for step in source["steps"])
    assert result.stderr.count("damaged left out") == 1 and result.stderr.startswith(
        f"{path}: {count} damaged left out"
    )


@pytest.mark.parametrize(
    "case, message",
    [
        ("no index", "neither a video nor an image that ffmpeg can read (its index is missing"),
        ("zero bytes", "the file is empty (0 bytes); copy or download it again"),
        ("text", "neither a video nor an image that ffmpeg can read (it is a text file)"),
        ("sound", "has no pictures, only audio"),
        ("nothing", "no such file or folder"),
    ],
)
def test_nothing_usable_is_one_clear_error(plain, tmp_path, case, message):
    path = damaged(plain, tmp_path, case) if case != "nothing" else tmp_path / "nothing.mp4"
    out = tmp_path / "out"
    with pytest.raises(UserError) as error:
        decode_clip(
            media=path,
            frames=out / "frames.csv",
            source=out / "source.json",
            role="driver",
            stretch=Stretch(),
            settings=DecodeSettings(),
        )
    assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)
    assert not out.exists()


def test_the_command_line_says_it_in_one_line(plain, tmp_path):
    path = damaged(plain, tmp_path, "text")
    (tmp_path / "out").mkdir()
    result = run_stage(path, tmp_path / "out")
    assert result.returncode == 1 and not list((tmp_path / "out").iterdir())
    assert (
        result.stderr.strip().splitlines()[-1]
        == f"error: {path}: neither a video nor an image that ffmpeg can read (it is a text file)"
    )


def test_names_with_anything_in_them(plain, tmp_path):
    for name in (
        "Zoë's “best” video 100%.mp4",
        'double "quotes" & $HOME;.mp4',
        "12:30 übung.mp4",
        "視頻 видео.mp4",
        "-y.mp4",
        "a#b?c.mp4",
    ):
        path = tmp_path / name
        shutil.copy(plain, path)
        decode_clip(
            media=path,
            frames=tmp_path / "frames.csv",
            source=tmp_path / "source.json",
            role="driver",
            stretch=Stretch(),
            settings=DecodeSettings(),
        )
        source = json.loads((tmp_path / "source.json").read_text())
        assert source["frames"] == 50 and source["media"] == str(path)
    result = run_stage(tmp_path / "Zoë's “best” video 100%.mp4", tmp_path / "Ä 'out'")
    assert result.returncode == 0 and len(pd.read_csv(tmp_path / "Ä 'out'" / "frames.csv")) == 50


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system in memory on `folder`; skips the test where mounting is not allowed."""
    folder.mkdir()
    done = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
        if shutil.which("mount")
        else None
    )
    if done is None or done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_read_only_folder(plain, tmp_path):
    out = tmp_path / "out"
    with mounted(out, "size=1m,ro"):
        result = run_stage(plain, out)
        assert result.returncode == 1 and not list(out.iterdir())
        assert result.stderr.strip().endswith(": cannot be written (Read-only file system)")
        assert result.stderr.startswith(f"error: {out}/")


def test_full_disk(plain, tmp_path):
    out = tmp_path / "out"
    with mounted(out, "size=16k"):
        (out / "ballast").write_bytes(bytes(12 * 1024))
        result = run_stage(plain, out)
        assert result.returncode == 1 and [file.name for file in out.iterdir()] == ["ballast"]
        assert result.stderr.startswith(f"error: {out}/") and result.stderr.strip().endswith(
            ": cannot be written (No space left on device)"
        )


def test_folder_that_is_a_file(plain, tmp_path):
    """Without the right to mount: nobody can write a path below a file, a limit on file sizes is like a full disk."""
    (tmp_path / "file").write_text("x")
    result = run_stage(plain, tmp_path / "file")
    assert (
        result.returncode == 1
        and result.stderr.startswith("error: ")
        and "source.json: cannot be written (" in result.stderr
    )
    out = tmp_path / "out"
    result = run_stage(plain, out, limit=1500)
    assert result.returncode == 1 and not list(out.iterdir())
    assert result.stderr.startswith(f"error: {out}/") and result.stderr.strip().endswith(
        ": cannot be written (File too large)"
    )


def test_crops_and_mattes_are_whole_or_not_there(demo_media, tmp_path):
    """The later stages, when the disk fills up (a limit on file sizes does the same)."""
    media, frames, crops = demo_media("carphone_pristine.mp4"), tmp_path / "frames.csv", tmp_path / "crops.zip"
    out = tmp_path / "out"
    run_stage(media, tmp_path, "--end", "0.3")
    for limit, folder in ((20_000, out), (None, tmp_path)):
        result = run(
            "crop", "--media", media, "--frames", frames, "--crops", folder / "crops.zip", "--size", "128", limit=limit
        )
        assert result.returncode == (limit is not None) and not (out / "crops.zip").exists(), result.stderr
    result = run("segment", "--crops", crops, "--mattes", out / "mattes.zip", limit=2_000)
    assert result.stderr == f"error: {out}/mattes.zip: cannot be written (File too large)\n" and not list(out.iterdir())


def test_memory_does_not_grow_with_length(tmp_path):
    """Peak memory of the stage over 60 s of video is that over 10 s."""
    videos = [tmp_path / "10.mp4", tmp_path / "60.mp4"]
    for video in videos:
        ffmpeg(
            "-f",
            "lavfi",
            "-i",
            f"testsrc=size=320x180:rate=25:duration={video.stem}",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            video,
        )
    code = """
import resource, sys
from workflow_scripts.decode import main
for video in sys.argv[1:3]:
    sys.argv[1:] = ["--media", video, "--frames", video + ".csv", "--source", video + ".json", "--role", "driver"]
    main()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, videos)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    short, long = map(float, done.stdout.split())
    assert len(pd.read_csv(tmp_path / "60.mp4.csv")) == 1500
    assert long < short + 15, "MiB"
