"""Reading media: exact times, upright pictures, damage counted."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from videos import texture, write_video

from reenact.media import probe as reading
from reenact.media.probe import Passes, probe, read_frames
from reenact.media.video import read_video, scan_duration
from reenact.runtime.errors import UserError


def corners() -> np.ndarray:
    """A picture that is brightest in its top left corner and darkest in its bottom right one."""
    image = np.full((48, 64, 3), 128, np.uint8)
    image[:24, :32] = 230
    image[24:, 32:] = 20
    return image


def quadrants(image: np.ndarray) -> list[int]:
    height, width = image.shape[:2]
    parts = [image[y : y + height // 2, x : x + width // 2] for y in (0, height // 2) for x in (0, width // 2)]
    return [int(part.mean()) for part in parts]


def test_times_are_exact_with_variable_rate_and_start_offset(tmp_path):
    times = [1.5, 1.54, 1.6, 1.7, 1.71, 2.3]
    media = probe(write_video(tmp_path / "v.mkv", [texture(48, 64, n) for n in range(6)], times))
    frames = list(read_frames(media))
    assert [f.index for f in frames] == list(range(6))
    np.testing.assert_allclose([f.time for f in frames], times, atol=1e-3)
    assert (media.width, media.height, media.kind, media.audio) == (64, 48, "video", False)
    assert scan_duration(media) == pytest.approx(0.8, abs=0.05)


def test_b_frames_come_in_presentation_order(tmp_path):
    images = [np.full((48, 64, 3), 20 + 5 * n, np.uint8) for n in range(30)]
    frames = list(read_frames(probe(write_video(tmp_path / "v.mp4", images))))
    means = [f.pixels().mean() for f in frames]
    assert len(frames) == 30 and np.all(np.diff(means) > 0)
    np.testing.assert_allclose([f.time for f in frames], np.arange(30) / 25, atol=1e-9)


@pytest.mark.parametrize("degrees, brightest", [(90, 2), (180, 3), (270, 1)])
def test_rotation_metadata_is_applied(tmp_path, degrees, brightest):
    plain = write_video(tmp_path / "plain.mp4", [corners()] * 3)
    turned = tmp_path / "turned.mp4"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-display_rotation",
        str(degrees),
        "-i",
        str(plain),
        "-c",
        "copy",
        str(turned),
    ]
    subprocess.run(command, check=True)
    media = probe(turned)
    frame = next(read_frames(media))
    image = frame.pixels()
    assert (
        image.shape[:2]
        == (frame.height, frame.width)
        == (media.height, media.width)
        == ((48, 64) if degrees == 180 else (64, 48))
    )
    # The same file as ffmpeg itself shows it.
    shown = tmp_path / "shown.png"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(turned), "-frames:v", "1", str(shown)], check=True
    )
    np.testing.assert_allclose(image, np.asarray(Image.open(shown).convert("RGB")), atol=12)
    assert int(np.argmax(quadrants(image))) == brightest
    assert f"rotated by {degrees} degrees" in media.steps[0]


def test_pixels_are_made_square(tmp_path):
    plain = write_video(tmp_path / "plain.mp4", [texture(48, 64)] * 2)
    wide = tmp_path / "wide.mp4"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(plain), "-vf", "setsar=3/2", str(wide)], check=True
    )
    media = probe(wide)
    assert (media.width, media.height) == (96, 48)
    assert next(read_frames(media)).pixels().shape == (48, 96, 3)
    assert "pixels made square" in media.steps[0]


def test_short_videos_are_decoded_once(tmp_path, monkeypatch):
    video = write_video(tmp_path / "v.mp4", [texture(48, 64, seed) for seed in range(6)])
    opened = []
    monkeypatch.setattr(reading, "read_video", lambda *arguments: opened.append(1) or read_video(*arguments))
    table = pd.DataFrame({"index": [0, 2, 3, 5], "role": ["train", "train", "unused", "holdout"]})
    wanted = table[table["role"] != "unused"]
    for most, times in ((10**9, 1), (10_000, 2)):
        passes = Passes(probe(video), most)
        opened.clear()
        first = {row: frame.pixels() for row, frame in passes.listed(table)}
        second = {row: frame.pixels() for row, frame in passes.listed(wanted)}
        assert list(first) == [0, 1, 2, 3] and list(second) == [0, 1, 2] and len(opened) == times
        for row, index in enumerate([0, 1, 3]):
            np.testing.assert_array_equal(second[row], first[index])


def test_pixels_are_scaled_down_on_request(tmp_path):
    frame = next(read_frames(probe(write_video(tmp_path / "v.mp4", [texture(120, 160)] * 2))))
    assert frame.pixels(80).shape == (60, 80, 3)
    assert frame.pixels(400).shape == (120, 160, 3)
    assert frame.grey(60).shape == (60, 80)
    assert np.abs(frame.pixels().astype(int) - texture(120, 160)).mean() < 4


def test_truncated_video_gives_its_good_part(tmp_path):
    whole = write_video(tmp_path / "whole.mkv", [texture(120, 160, n) for n in range(50)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    damage: list[str] = []
    times = [f.time for f in read_frames(probe(cut), damage)]
    assert 10 <= len(times) < 50
    assert np.abs(np.array(times) * 25 - np.rint(np.array(times) * 25)).max() < 0.03
    assert len(damage) == 1 and "header says 2.00 s" in damage[0]


def test_damaged_frames_are_left_out_and_counted(tmp_path):
    plain = write_video(tmp_path / "plain.mp4", [texture(120, 160, n) for n in range(40)])
    damaged = tmp_path / "damaged.mp4"
    # With the index in front, only pictures are hit.
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(plain),
        "-c",
        "copy",
        "-movflags",
        "faststart",
        str(damaged),
    ]
    subprocess.run(command, check=True)
    data = bytearray(damaged.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    damaged.write_bytes(data)
    damage: list[str] = []
    frames = list(read_frames(probe(damaged), damage))
    assert damage and damage[0].startswith("frame at ")
    assert 30 <= len(frames) == 40 - len(damage)


def test_photos_are_turned_upright_and_made_rgb(tmp_path):
    image = Image.fromarray(corners())
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the top of the scene is the right side of the file
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    image.convert("L").save(tmp_path / "b.png")
    image.convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    transparent = image.convert("RGBA")
    transparent.putalpha(0)
    transparent.save(tmp_path / "d.png")
    Image.fromarray(corners()[..., 0].astype(np.uint16) * 257).save(tmp_path / "e.png")
    (tmp_path / "f.jpg").write_bytes(b"not a picture")
    damage: list[str] = []
    media = probe(tmp_path)
    frames = list(read_frames(media, damage))
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert all(f.pixels().ndim == 3 and f.pixels().dtype == np.uint8 for f in frames)
    assert frames[0].pixels().shape == (64, 48, 3) and int(np.argmax(quadrants(frames[0].pixels()))) == 1
    assert "turned upright" in media.steps[0]
    np.testing.assert_allclose(frames[2].pixels(), corners(), atol=12)
    assert np.all(frames[3].pixels() == 128)
    np.testing.assert_array_equal(frames[4].pixels(), np.repeat(corners()[..., :1], 3, axis=2))
    assert len(damage) == 1 and damage[0].startswith("f.jpg")


def test_unusable_media_are_named(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text it's.mp4").write_text("this is no video")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "folder").mkdir()
    for name, expected in [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "0 bytes"),
        ("text it's.mp4", "neither a video nor an image"),
        ("folder", "no images in this folder"),
        ("bad.png", "no image can be read"),
    ]:
        with pytest.raises(UserError) as error:
            probe(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name)) and expected in str(error.value)
