"""Stage segment: the person in the middle, and nobody else."""

import numpy as np
import pandas as pd
import pytest
from crops import astronaut_head, write_crops

from reenact.data.clip import Clip, write_clip
from reenact.faces.crop_pixels import crop_square
from reenact.faces.crop_table import COLUMNS as CROP_COLUMNS
from reenact.faces.square import Square
from reenact.media.frame_table import Stretch
from reenact.media.probe import probe, read_frames
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip
from reenact.stages.segment import COLUMNS, find_warnings, segment_clip


def segment(media, folder, role, end=None, threads=1, **settings):
    decode_clip(
        media=media,
        frames=folder / "frames.csv",
        source=folder / "source.json",
        role=role,
        stretch=Stretch(end=end),
        settings=DecodeSettings(),
    )
    crop_clip(media=media, frames=folder / "frames.csv", crops=folder / "crops.zip", settings=CropSettings())
    segment_clip(
        crops=folder / "crops.zip", mattes=folder / "mattes.zip", settings=SegmentSettings(**settings), threads=threads
    )
    return Clip(folder / "crops.zip"), Clip(folder / "mattes.zip")


@pytest.fixture(scope="module")
def astronaut(demo_media):
    return astronaut_head(demo_media("astronaut.png"))


@pytest.mark.parametrize("network", ["mediapipe", "mediapipe_general"])
def test_photo(demo_media, tmp_path, network):
    crops, mattes = segment(demo_media("astronaut.png"), tmp_path, "identity", network=network)
    assert list(mattes.table.columns) == COLUMNS
    matte = mattes.image(crops.table["image"].iloc[0])
    assert matte.shape == (256, 256) and matte.dtype == np.uint8
    assert matte[88:168, 88:168].min() > 250, "the face is the person"
    assert max(matte[:40, :30].max(), matte[:40, -30:].max()) < 5, "the upper corners are not"
    assert matte[30:40, 110:150].min() > 200, "hair belongs to the person"
    row = mattes.table.iloc[0]
    assert row["coverage"] == pytest.approx(matte.mean() / 255, abs=1e-4)
    assert row["face_coverage"] > 0.99 and row["warning"] == ""


def test_video_mattes_are_steady(demo_media, tmp_path):
    crops, mattes = segment(demo_media("single_face.mp4"), tmp_path, "driver", end=0.6)
    assert list(mattes.table["image"]) == list(crops.table["image"])
    assert mattes.table["coverage"].between(0.3, 0.7).all()
    assert (mattes.table["warning"] == "").all()
    calm = mattes.images(list(mattes.table["image"])).astype(float)
    segment_clip(crops=crops.path, mattes=tmp_path / "raw.zip", settings=SegmentSettings(smoothing=0.0))
    raw = Clip(tmp_path / "raw.zip").images(list(mattes.table["image"])).astype(float)
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.8 * np.abs(np.diff(raw, axis=0)).mean()
    assert np.abs(calm - raw).mean() < 0.01 * 255


def test_threads_change_nothing(astronaut, tmp_path):
    images = [np.roll(astronaut, shift, axis=1) for shift in range(-9, 9)]
    crops = write_crops(tmp_path / "crops.zip", images)
    for threads in (1, 3):
        segment_clip(crops=crops, mattes=tmp_path / f"{threads}.zip", settings=SegmentSettings(), threads=threads)
    one, three = Clip(tmp_path / "1.zip"), Clip(tmp_path / "3.zip")
    pd.testing.assert_frame_equal(one.table, three.table)
    np.testing.assert_array_equal(one.images(list(one.table["image"])), three.images(list(one.table["image"])))


def test_padding_is_nobody(demo_media, tmp_path):
    image = next(read_frames(probe(demo_media("astronaut.png")))).pixels()[60:, :]  # the hair is cut off by the frame
    x, y, side = 223 - 105, -60, 210
    crops = write_crops(
        tmp_path / "crops.zip",
        [crop_square(image, Square.from_corner(x, y, side), 256)],
        x=x,
        y=y,
        side=side,
        frame_width=image.shape[1],
        frame_height=image.shape[0],
    )
    segment_clip(crops=crops, mattes=tmp_path / "mattes.zip", settings=SegmentSettings())
    matte = Clip(tmp_path / "mattes.zip").image("000000.png")
    border = round(60 / side * 256)
    assert matte[: border - 27].max() == 0 and matte[border + 5 : border + 60, 100:150].min() > 240


def test_dropped_frames_have_no_matte(tmp_path, capsys):
    row = dict.fromkeys(CROP_COLUMNS, 0) | {"role": "train", "image": "", "status": "dropped", "reason": "no face"}
    with write_clip(tmp_path / "crops.zip") as writer:
        writer.finish(pd.DataFrame([row]))
    segment_clip(crops=tmp_path / "crops.zip", mattes=tmp_path / "mattes.zip", settings=SegmentSettings())
    table = Clip(tmp_path / "mattes.zip").table
    assert table["image"].iloc[0] == "" and len(table) == 1
    assert "no mattes" in capsys.readouterr().out


def test_given_mattes_stay_as_they_are(astronaut, tmp_path):
    given = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    crops = write_crops(
        tmp_path / "crops.zip", [astronaut] * 3, matte=["", "000001.matte.png", ""], extra={"000001.matte.png": given}
    )
    segment_clip(crops=crops, mattes=tmp_path / "mattes.zip", settings=SegmentSettings())
    first, second, third = Clip(tmp_path / "mattes.zip").images([f"00000{i}.png" for i in range(3)])
    np.testing.assert_array_equal(second, given)
    np.testing.assert_array_equal(first, third)
    assert first[88:168, 88:168].min() > 250, "nor are they mixed into others"


def test_a_jump_is_named(astronaut, tmp_path, capsys):
    empty = np.full_like(astronaut, 90)
    crops = write_crops(tmp_path / "crops.zip", [astronaut, astronaut, empty])
    segment_clip(crops=crops, mattes=tmp_path / "mattes.zip", settings=SegmentSettings())
    assert list(Clip(tmp_path / "mattes.zip").table["warning"] != "") == [False, False, True]
    assert "warning: frame 2 at 0.080 s: only 0% of the face is covered" in capsys.readouterr().out


def test_warnings():
    table = pd.DataFrame(
        {
            "time": [0, 0.04, 0.08, 0.12, 2, 2.04],
            "image": ["a", "b", "c", "", "e", "f"],
            "coverage": [0.4, 0.41, 0.5, np.nan, 0.3, 0.31],
            "face_coverage": [1, 1, 1, np.nan, 1, 0.2],
        }
    )
    one = np.zeros(6, int)
    jump = "coverage jumps from 41% to 50%"
    assert find_warnings(table, one, True, 0.08) == ["", "", jump, "", "", "only 20% of the face is covered"]
    assert find_warnings(table, np.array([0, 0, 1, 1, 1, 1]), True, 0.08)[2] == "", "a cut may change everything"
    assert find_warnings(table, one, False, 0.08)[2] == "", "and so may photos"
