"""Media as they come from phones, cameras and browsers: exact times, upright pictures, true colours.

All are made here, by the ffmpeg binary of the wheel imageio-ffmpeg.
"""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from videos import ffmpeg, moving, plain_video, stated_times, texture, write_video

from reenact.media.frame_table import Stretch
from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError
from reenact.settings.decode import DecodeSettings
from reenact.stages.decode import decode_clip


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return plain_video(tmp_path_factory.mktemp("plain"))


def decode(media: Path, folder: Path, role: str = "driver") -> tuple[pd.DataFrame, dict]:
    decode_clip(
        media=media,
        frames=folder / "frames.csv",
        source=folder / "source.json",
        role=role,
        stretch=Stretch(),
        settings=DecodeSettings(),
    )
    return pd.read_csv(folder / "frames.csv", keep_default_na=False), json.loads((folder / "source.json").read_text())


# ---- times --------------------------------------------------------------------------------------------------

TIMED = {
    "variable rate.mkv": [
        "-vf",
        "setpts='(N+mod(N,3)*0.4)/25/TB'",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1/1000",
    ],
    "29.97 and offset.mkv": ["-vf", "setpts=N*1001/30000/TB", "-r", "30000/1001", "-output_ts_offset", "1.5"],
    "59.94.mov": ["-vf", "setpts=N*1001/60000/TB", "-r", "60000/1001"],
    "offset.ts": ["-output_ts_offset", "37"],
    "vp9.webm": [
        "-c:v",
        "libvpx-vp9",
        "-cpu-used",
        "8",
        "-deadline",
        "realtime",
        "-auto-alt-ref",
        "1",
        "-lag-in-frames",
        "12",
    ],
    "vp8.webm": [
        "-c:v",
        "libvpx",
        "-cpu-used",
        "8",
        "-deadline",
        "realtime",
        "-auto-alt-ref",
        "1",
        "-lag-in-frames",
        "12",
    ],
    "mpeg4 with b-frames.avi": ["-c:v", "mpeg4", "-bf", "2", "-q:v", "4"],
    "animation.gif": ["-r", "10"],
    "hevc.mp4": ["-c:v", "libx265", "-x265-params", "log-level=error", "-bf", "3"],
    "prores.mov": ["-c:v", "prores_ks"],
    "field by field.mpg": ["-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-bf", "2", "-q:v", "4"],
}


@pytest.mark.parametrize("name", TIMED)
def test_times_out_equal_times_in(plain, tmp_path, name):
    path = tmp_path / name
    ffmpeg("-i", plain, *TIMED[name], path)
    table, source = decode(path, tmp_path)
    expected = stated_times(path)
    assert len(table) == len(expected) >= 20 and source["damaged_frames"] == 0
    np.testing.assert_allclose(table["source_time"], expected, atol=1e-3)
    np.testing.assert_allclose(table["time"], np.array(expected) - expected[0], atol=1e-3)


def test_edit_list_is_followed(plain, tmp_path):
    """Cutting without encoding anew keeps the frames since the last key frame, and hides them by an edit list."""
    path = tmp_path / "cut.mp4"
    ffmpeg("-ss", 0.3, "-i", plain, "-c", "copy", path)
    table, _ = decode(path, tmp_path)
    expected = stated_times(path)
    assert len(table) == len(expected) < 46
    np.testing.assert_allclose(table["source_time"], expected, atol=1e-3)
    frame = next(read_frames(probe(path)))
    hidden = list(read_frames(probe(plain)))[50 - len(table)]
    assert np.abs(frame.pixels().astype(int) - hidden.pixels()).mean() < 1


def test_times_of_real_clips(demo_media, tmp_path):
    for name in ("WolfgangLanger_Pexels.mp4", "single_face.mp4", "carphone_pristine.mp4"):
        table, source = decode(demo_media(name), tmp_path)
        np.testing.assert_allclose(table["source_time"], stated_times(demo_media(name)), atol=1e-3)
        assert source["damaged_frames"] == 0


# ---- pictures -----------------------------------------------------------------------------------------------


TAGGED = "setparams=colorspace=gbr:color_primaries=bt709:color_trc=bt709:range=pc"


@pytest.mark.parametrize(
    "flags, expected",
    [
        (["-display_hflip"], lambda image: image[:, ::-1]),
        (["-display_vflip"], lambda image: image[::-1]),
        (["-display_rotation", 90, "-display_hflip"], None),
    ],
)
def test_mirrored_by_metadata(plain, tmp_path, flags, expected):
    path, shown = tmp_path / "mirrored.mp4", tmp_path / "shown.png"
    ffmpeg(*flags, "-i", plain, "-c", "copy", "-frames:v", 5, path)
    ffmpeg("-i", path, "-frames:v", 1, shown)
    image = next(read_frames(probe(path))).pixels()
    assert (
        np.abs(image.astype(int) - np.asarray(Image.open(shown).convert("RGB"))).mean() < 4
    )  # ffmpeg's own colours are coarse
    if expected:
        assert np.abs(image.astype(int) - expected(next(read_frames(probe(plain))).pixels())).mean() < 1
        assert probe(path).steps == ("mirrored (metadata)",)


@pytest.mark.parametrize("transfer, name", [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_hdr_becomes_what_it_was_in_sdr(tmp_path, transfer, name):
    """An SDR picture, brought to HDR by zimg (SDR white at 203 cd/m2), comes back; highlights alone are compressed."""
    grey = np.repeat(np.repeat(np.arange(16, 256, 16, dtype=np.uint8)[None], 8, axis=1)[:, :, None], 3, axis=2).repeat(
        48, axis=0
    )
    colour = np.clip(texture(48, 120, 3).astype(int) * [1.1, 0.8, 0.65], 0, 160).astype(np.uint8)
    Image.fromarray(np.concatenate([grey, colour])).save(tmp_path / "sdr.png")
    path = tmp_path / "hdr.mp4"
    to_hdr = (
        f"format=gbrp,{TAGGED},zscale=t=linear:npl=203:agamma=0,format=gbrpf32le,"
        f"zscale=t={transfer}:p=bt2020:m=bt2020nc:r=tv:npl=203:agamma=0,format=yuv444p10le"
    )
    ffmpeg(
        "-loop",
        1,
        "-i",
        tmp_path / "sdr.png",
        "-vf",
        to_hdr,
        "-frames:v",
        2,
        "-c:v",
        "libx265",
        "-crf",
        4,
        "-x265-params",
        "log-level=error",
        "-color_primaries",
        "bt2020",
        "-color_trc",
        transfer,
        "-colorspace",
        "bt2020nc",
        path,
    )
    media = probe(path)
    assert f"HDR ({name}, BT.2020) tone-mapped to SDR BT.709" in media.steps[0]
    image = next(read_frames(media)).pixels()
    away = np.abs(image[48:].astype(int) - colour)
    assert away.mean() < 1.5 and away.max() <= 12
    steps = image[24, 4::8].astype(int).mean(axis=-1)
    original = np.arange(16, 256, 16)
    np.testing.assert_allclose(steps[original <= 160], original[original <= 160], atol=3)
    assert np.all(np.diff(steps) > 3) and 215 < steps[-1] < 240, "highlights are compressed, in order, and not clipped"
    half = next(read_frames(media)).pixels(60)
    np.testing.assert_allclose(half[24:], cv2.resize(image, (60, 48), interpolation=cv2.INTER_AREA)[24:], atol=8)


def test_wide_colours_and_deep_colours(tmp_path):
    image = texture(48, 64, 3)
    image[:, :, 0] = 200
    Image.fromarray(image).save(tmp_path / "sdr.png")
    path = tmp_path / "wide.mkv"
    ffmpeg(
        "-i",
        tmp_path / "sdr.png",
        "-vf",
        f"format=gbrp,{TAGGED},zscale=t=bt709:p=bt2020:m=bt2020nc:r=tv,format=yuv444p10le",
        "-c:v",
        "ffv1",
        "-color_primaries",
        "bt2020",
        "-color_trc",
        "bt2020-10",
        "-colorspace",
        "bt2020nc",
        path,
    )
    media = probe(path)
    assert media.steps == ("colours mapped from BT.2020 to BT.709",)
    np.testing.assert_allclose(next(read_frames(media)).pixels().astype(int), image, atol=6)
    path = tmp_path / "deep.mkv"
    ffmpeg(
        "-i",
        tmp_path / "sdr.png",
        "-vf",
        "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p12le",
        "-c:v",
        "ffv1",
        "-colorspace",
        "bt709",
        path,
    )
    media = probe(path)
    assert media.steps == ("reduced from 12 to 8 bits",)
    np.testing.assert_allclose(next(read_frames(media)).pixels().astype(int), image, atol=2)


@pytest.mark.parametrize(
    "codec, pixels, suffix",
    [
        ("mjpeg", "yuvj420p", "avi"),
        ("rawvideo", "nv12", "nut"),
        ("rawvideo", "gray", "nut"),
        ("ffv1", "yuv420p", "mkv"),
        ("ffv1", "yuv422p10le", "mkv"),
        ("ffv1", "gbrp", "mkv"),
        ("rawvideo", "yuyv422", "nut"),
        ("png", "rgb48be", "mov"),
        ("libx264", "yuv444p", "mp4"),
    ],
)
def test_odd_sizes_and_ways_to_store_pixels(tmp_path, codec, pixels, suffix):
    image = texture(75, 102 if "422" in pixels else 101, 5)
    image = np.repeat(image[..., :1], 3, axis=2) if pixels == "gray" else image
    Image.fromarray(image).save(tmp_path / "image.png")
    path = tmp_path / f"odd.{suffix}"
    quality = ["-crf", 2] if codec == "libx264" else ["-q:v", 2] if codec == "mjpeg" else []
    ffmpeg(
        "-loop",
        1,
        "-i",
        tmp_path / "image.png",
        "-frames:v",
        3,
        "-sws_flags",
        "bicubic+accurate_rnd+full_chroma_int",
        "-c:v",
        codec,
        *quality,
        "-pix_fmt",
        pixels,
        "-strict",
        "unofficial",
        path,
    )
    media = probe(path)
    frame = next(read_frames(media))
    assert frame.pixels().shape == image.shape and (media.width, media.height) == (image.shape[1], 75)
    assert (
        np.abs(frame.pixels().astype(int) - image).mean() < 2.5
        and abs(float(frame.pixels().mean() - image.mean())) < 0.6
    )
    assert frame.grey(30).shape == (30, 40 if image.shape[1] == 101 else 41) and frame.grey(30).dtype == np.uint8
    assert frame.pixels(50).shape[1] == 50 and frame.pixels(50).flags.c_contiguous


@pytest.mark.parametrize(
    "codec, pixels, suffix",
    [
        ("qtrle", "argb", "mov"),
        ("prores_ks", "yuva444p10le", "mov"),
        ("ffv1", "yuva420p", "mkv"),
        ("libvpx-vp9", "yuva420p", "webm"),
        ("gif", "", "gif"),
    ],
)
def test_transparency_is_filled_with_grey(tmp_path, codec, pixels, suffix):
    image = np.full((48, 64, 4), (200, 60, 60, 255), np.uint8)
    image[:, 32:] = (10, 250, 10, 0)
    Image.fromarray(image).save(tmp_path / "image.png")
    path = tmp_path / f"alpha.{suffix}"
    palette = (
        ["-vf", "split[a][b];[a]palettegen=reserve_transparent=1[p];[b][p]paletteuse"]
        if codec == "gif"
        else ["-pix_fmt", pixels]
    )
    ffmpeg("-loop", 1, "-t", 0.12, "-i", tmp_path / "image.png", "-c:v", codec, *palette, path)
    media = probe(path)
    frame = next(read_frames(media))
    assert "transparency filled with grey (128, 128, 128)" in media.steps
    for shown in (frame.pixels(), frame.pixels(32)):
        width = shown.shape[1]
        np.testing.assert_allclose(shown[:, : width // 2 - 2].reshape(-1, 3).mean(axis=0), [200, 60, 60], atol=8)
        np.testing.assert_allclose(shown[:, width // 2 + 2 :].reshape(-1, 3).mean(axis=0), 128, atol=4)


def test_interlaced_video_is_deinterlaced_frame_by_frame(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", moving(60), rate=50)
    path = tmp_path / "interlaced.ts"
    ffmpeg(
        "-i",
        whole,
        "-vf",
        "tinterlace=interleave_top",
        "-c:v",
        "libx264",
        "-flags",
        "+ilme+ildct",
        "-x264-params",
        "tff=1",
        "-crf",
        10,
        path,
    )
    table, source = decode(path, tmp_path)
    expected = stated_times(path)
    assert len(table) == len(expected) == 30
    np.testing.assert_allclose(table["source_time"], expected, atol=1e-3)
    assert set(table["notes"]) == {"de-interlaced (bwdif)"}
    assert source["steps"] == ["de-interlaced (bwdif): 30 of 30 frames"]

    def combing(image: np.ndarray) -> float:
        """Difference of neighbouring rows, over that of rows that are two apart."""
        grey = image.mean(axis=-1)
        return float(np.abs(np.diff(grey, axis=0)).mean() / np.abs(grey[2:] - grey[:-2]).mean())

    ffmpeg("-i", path, "-vf", "select=eq(n\\,10)", "-frames:v", 1, tmp_path / "combed.png")
    frames = [frame.pixels() for frame in read_frames(probe(path))]
    assert combing(np.asarray(Image.open(tmp_path / "combed.png").convert("RGB"))) > 1.2
    assert all(combing(frame) < 0.75 for frame in frames)


def test_one_picture_in_any_wrapping_is_a_photo(tmp_path):
    image = texture(48, 64, 2)
    Image.fromarray(image).save(tmp_path / "really a png.mp4", format="png")
    Image.fromarray(image).save(tmp_path / "still.gif")
    ffmpeg("-i", tmp_path / "still.gif", "-frames:v", 1, "-pix_fmt", "rgb48le", tmp_path / "deep.tiff")
    Image.fromarray(np.full((1, 1, 3), 77, np.uint8)).save(tmp_path / "1x1.png")
    for name in ("really a png.mp4", "still.gif", "deep.tiff", "1x1.png"):
        media = probe(tmp_path / name)
        assert media.kind == "photos" and next(read_frames(media)).time == 0, name
        table, _ = decode(tmp_path / name, tmp_path, "identity")
        assert list(table["role"]) == ["train"]
    assert next(read_frames(probe(tmp_path / "1x1.png"))).pixels().tolist() == [[[77, 77, 77]]]
    write_video(tmp_path / "v.mp4", [image] * 3).rename(tmp_path / "really a video.jpg")
    assert probe(tmp_path / "really a video.jpg").kind == "video"


def display_p3() -> bytes:
    """A minimal ICC profile: Display P3 primaries (adapted to D50) with a gamma of 2.2."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(number, values))

    name = b"Display P3"
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(1 + 79),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, data, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", place + len(data), len(content))
        data += content
    head = (
        struct.pack(">I4sI4s4s4s", place + len(data), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
        + bytes(12)
        + b"acsp"
        + bytes(28)
    )
    return head + number(0.9642) + number(1.0) + number(0.8249) + bytes(48) + table + data


def test_photos_of_phones_keep_their_colours(tmp_path):
    """Display P3, as phones write it: a red that sRGB shows with a larger number, and a grey that stays."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16], image[:, 16:] = (180, 90, 80), (120, 120, 120)
    Image.fromarray(image).save(tmp_path / "phone.png", icc_profile=display_p3())
    media = probe(tmp_path / "phone.png")
    assert media.steps == ("colours mapped from Display P3 to sRGB",)
    shown = next(read_frames(media)).pixels()
    to_srgb = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    linear = to_srgb @ (np.array([180, 90, 80]) / 255) ** 2.2
    np.testing.assert_allclose(shown[8, 8], 255 * (1.055 * linear ** (1 / 2.4) - 0.055), atol=3)
    np.testing.assert_allclose(shown[8, 24].astype(int), 120, atol=3)
    assert shown[8, 8, 0] > 185


def test_photos_come_in_natural_order(tmp_path):
    for name in ("10.jpg", "9.jpg", "B1.png", "a2.png", ".hidden.png"):
        Image.fromarray(texture(16, 16)).save(tmp_path / name)
    assert [file.name for file in probe(tmp_path).files] == ["9.jpg", "10.jpg", "a2.png", "B1.png"]


# ---- the published layout -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """`images-cropped/id1/*.jpg`, `images-cropped/id2/video a/*.jpg`, and masks of most of them."""
    root = tmp_path_factory.mktemp("published")
    for identity, names in (("id1", ["1", "2", "10"]), ("id2/video a", ["00001", "00002"])):
        for folder in ("images-cropped", "segmentation-cropped"):
            (root / folder / identity).mkdir(parents=True)
        for n, name in enumerate(names):
            Image.fromarray(texture(64, 64, n)).save(root / "images-cropped" / identity / f"{name}.jpg")
            mask = np.zeros((64, 64), np.uint8)
            mask[16:] = 255 if identity == "id1" else 1  # labels in place of brightness
            if name != "10":
                Image.fromarray(mask).save(root / "segmentation-cropped" / identity / f"{name}.png")
    return root


def test_crops_of_the_published_layout(published, tmp_path):
    media = probe(published / "images-cropped" / "id1")
    assert media.kind == "cropped" and [file.name for file in media.files] == ["1.jpg", "2.jpg", "10.jpg"]
    assert [mask and mask.name for mask in media.masks] == ["1.png", "2.png", None]
    frames = list(read_frames(media))
    assert frames[2].matte() is None
    np.testing.assert_array_equal(frames[0].matte(), np.repeat([0, 255], [16, 48])[:, None].repeat(64, axis=1))
    table, source = decode(published / "images-cropped" / "id1", tmp_path, "identity")
    assert list(table["role"]) == ["train"] * 3 and source["kind"] == "cropped"
    assert source["steps"] == ["taken as crops (images-cropped); 2 of 3 have masks"]


@pytest.mark.parametrize("place, count", [("id2", 2), ("id2/video a", 2), ("id2/video a/00002.jpg", 1)])
def test_nested_crops(published, place, count):
    media = probe(published / "images-cropped" / place)
    assert media.kind == "cropped" and len(media.files) == count and None not in media.masks
    assert all(frame.matte().max() == 255 for frame in read_frames(media))


def test_crops_of_nobody(published, tmp_path):
    with pytest.raises(UserError, match="several identities; name the folder of one of them, such as"):
        probe(published / "images-cropped")
    with pytest.raises(UserError, match="a driver must be a video"):
        decode(published / "images-cropped" / "id1", tmp_path)
