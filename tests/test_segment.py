"""Stage segment: the person in the middle, and nobody else."""

import numpy as np
import pandas as pd
import pytest

from reenact.clip import Clip, write_clip
from reenact.crop import COLUMNS as CROP_COLUMNS
from reenact.crop import crop_clip, crop_square
from reenact.decode import decode_clip
from reenact.media import probe, read_frames
from reenact.segment import _Moment, inside_frame, keep_person, segment_clip, sharpen_matte, smooth_mattes
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.settings.segment import SegmentSettings


def segment(media, folder, role, end=None, **settings):
    decode_clip(media=media, frames=folder / "frames.csv", source=folder / "source.json", role=role, start=None, end=end,
                holdout=0, settings=DecodeSettings())
    crop_clip(media=media, frames=folder / "frames.csv", crops=folder / "crops.zip", settings=CropSettings())
    segment_clip(crops=folder / "crops.zip", mattes=folder / "mattes.zip", settings=SegmentSettings(**settings))
    return Clip(folder / "crops.zip"), Clip(folder / "mattes.zip")


def test_astronaut(demo_media, tmp_path):
    crops, mattes = segment(demo_media("astronaut.png"), tmp_path, "identity")
    assert list(mattes.table.columns) == ["index", "time", "role", "image", "coverage"]
    matte = mattes.image(crops.table["image"].iloc[0])
    assert matte.shape == (256, 256) and matte.dtype == np.uint8
    assert matte[88:168, 88:168].min() > 250, "the face is the person"
    assert max(matte[:40, :30].max(), matte[:40, -30:].max()) < 5, "the upper corners are not"
    assert matte[30:40, 110:150].min() > 200, "hair belongs to the person"
    assert mattes.table["coverage"].iloc[0] == pytest.approx(matte.mean() / 255, abs=2e-3)


def test_video_mattes_are_steady(demo_media, tmp_path):
    crops, mattes = segment(demo_media("single_face.mp4"), tmp_path, "driver", end=0.6)
    assert list(mattes.table["image"]) == list(crops.table["image"])
    assert mattes.table["coverage"].between(0.3, 0.7).all()
    calm = mattes.images(list(mattes.table["image"])).astype(float)
    (tmp_path / "raw").mkdir()
    _, mattes = segment(demo_media("single_face.mp4"), tmp_path / "raw", "driver", end=0.6, smoothing=0.0)
    raw = mattes.images(list(mattes.table["image"])).astype(float)
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.8 * np.abs(np.diff(raw, axis=0)).mean()
    assert np.abs(calm - raw).mean() < 0.01 * 255


def test_padding_is_nobody(demo_media, tmp_path):
    image = next(read_frames(probe(demo_media("astronaut.png")))).pixels()[60:, :]  # the hair is cut off by the frame
    x, y, side = 223 - 105, -60, 210
    row = dict.fromkeys(CROP_COLUMNS, 0) | {
        "role": "train", "image": "000000.png", "status": "tracked", "reason": "",
        "x": x, "y": y, "side": side, "frame_width": image.shape[1], "frame_height": image.shape[0],
    }
    with write_clip(tmp_path / "crops.zip") as writer:
        writer.add("000000.png", crop_square(image, x, y, side, 256))
        writer.finish(pd.DataFrame([row]))
    segment_clip(crops=tmp_path / "crops.zip", mattes=tmp_path / "mattes.zip", settings=SegmentSettings())
    matte = Clip(tmp_path / "mattes.zip").image("000000.png")
    border = round(60 / side * 256)
    assert matte[:border - 27].max() == 0 and matte[border + 5:border + 60, 100:150].min() > 240


def test_dropped_frames_have_no_matte(tmp_path):
    row = dict.fromkeys(CROP_COLUMNS, 0) | {"role": "train", "image": "", "status": "dropped", "reason": "no face"}
    with write_clip(tmp_path / "crops.zip") as writer:
        writer.finish(pd.DataFrame([row]))
    segment_clip(crops=tmp_path / "crops.zip", mattes=tmp_path / "mattes.zip", settings=SegmentSettings())
    table = Clip(tmp_path / "mattes.zip").table
    assert table["image"].iloc[0] == "" and len(table) == 1


def test_other_people_are_removed_and_small_holes_filled():
    matte = np.zeros((128, 128), np.float32)
    matte[30:128, 40:90] = 1
    matte[30:128, 38:40] = 0.4  # a soft edge
    matte[60:66, 60:66] = 0.1  # a hole in the face
    matte[40:128, 110:128] = 1  # somebody else
    matte[40:128, 108:110] = 0.3
    result = keep_person(matte)
    assert result[60:66, 60:66].min() == 1
    assert result[:, 105:].max() == 0
    np.testing.assert_allclose(result[30:128, 38:40], 0.4)
    np.testing.assert_array_equal(keep_person(np.zeros((64, 64), np.float32)), 0)


def test_sharpen_keeps_one_half():
    values = np.array([0, 0.25, 0.4, 0.5, 0.6, 1], np.float32)
    np.testing.assert_allclose(sharpen_matte(values, 2.0), [0, 0, 0.3, 0.5, 0.7, 1], atol=1e-6)
    np.testing.assert_array_equal(sharpen_matte(values, 1.0), values)


def test_smoothing_is_over_time_and_not_over_change():
    still = np.full((64, 64, 3), 100, np.uint8)
    times = [0.0, 0.04, 0.08, 5.0]
    values = [0.0, 0.6, 0.0, 0.9]

    def run(pictures, sigma=0.04):
        moments = [_Moment(n, t, np.full((8, 8), v, np.float32), p) for n, (t, v, p) in enumerate(zip(times, values, pictures))]
        return {row: float(matte.mean()) for row, matte in smooth_mattes(moments, sigma)}

    same = run([still] * 4)
    assert list(same) == [0, 1, 2, 3]
    assert 0.1 < same[0] < 0.3 and 0.2 < same[1] < 0.4 and same[3] == pytest.approx(0.9), "frames far apart do not meet"
    cut = run([still, still + 100, still + 100, still])
    assert cut[0] == pytest.approx(0, abs=1e-3)
    assert run([still] * 4, sigma=0.0) == pytest.approx(dict(enumerate(values)))


def test_inside_frame():
    assert inside_frame(10, 10, 50, 100, 100, 20).min() == 1
    part = inside_frame(-50, 0, 100, 100, 100, 100)
    assert part[:, :39].max() == 0 and part[:, 50:].min() == 1 and 0.3 < part[50, 45] < 0.7
