"""Stage crop: one person, followed calmly; nothing black, nothing silent."""

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from videos import place_head, texture, write_video

from reenact.clip import Clip
from reenact.crop import (
    COLUMNS,
    crop_clip,
    crop_square,
    fill_gaps,
    smooth,
    to_crop,
    to_frame,
)
from reenact.decode import decode_clip
from reenact.errors import UserError
from reenact.media import probe, read_frames
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings


@pytest.fixture(scope="module")
def woman(demo_media):
    """Head of the astronaut, 200 x 240 px; her face's middle is 13 px above the picture's, in its centre column."""
    return next(read_frames(probe(demo_media("astronaut.png")))).pixels()[0:240, 123:323]


@pytest.fixture(scope="module")
def man(demo_media):
    """Head of the man in single_face.mp4, likewise."""
    image = next(read_frames(probe(demo_media("single_face.mp4")))).pixels()
    return image[20:350, 145:420]


def crop(media, folder, role="driver", start=None, end=None, **settings):
    frames = folder / "frames.csv"
    decode_clip(media=media, frames=frames, source=folder / "source.json", role=role, start=start, end=end,
                holdout=0.0, settings=DecodeSettings())
    crop_clip(media=media, frames=frames, crops=folder / "crops.zip", settings=CropSettings(**{"size": 96, **settings}))
    return Clip(folder / "crops.zip")


def centres(table: pd.DataFrame) -> np.ndarray:
    return np.column_stack([table["x"] + table["side"] / 2, table["y"] + table["side"] / 2])


def restlessness(values: np.ndarray) -> float:
    """Spread of the second difference: movement that no head makes."""
    return float(np.sqrt(np.mean(np.diff(values, n=2, axis=0) ** 2)))


# ---- real footage ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def carphone(demo_media, tmp_path_factory):
    folder = tmp_path_factory.mktemp("carphone")
    clips = {}
    for name, smoothing in (("raw", 0.0), ("calm", 0.15)):
        (folder / name).mkdir()
        clips[name] = crop(demo_media("carphone_pristine.mp4"), folder / name, smoothing=smoothing, end=2.0)
    return clips


def test_table_and_images(carphone):
    clip = carphone["calm"]
    assert list(clip.table.columns) == COLUMNS
    assert len(clip) == 60 and (clip.table["status"] == "tracked").all() and (clip.table["reason"] == "").all()
    assert clip.table["image"].iloc[7] == "000007.png"
    images = clip.images(list(clip.table["image"][:3]))
    assert images.shape == (3, 96, 96, 3) and images.dtype == np.uint8
    assert clip.table["face_height"].between(50, 80).all() and (clip.table["confidence"] > 0.5).all()
    assert (clip.table["frame_width"] == 193).all()


def test_smoothing_takes_jitter_but_not_motion(carphone):
    raw, calm = carphone["raw"].table, carphone["calm"].table
    height = raw["face_height"].mean()
    assert restlessness(centres(calm)) < 0.35 * restlessness(centres(raw))
    assert restlessness(calm[["side"]].to_numpy()) < 0.35 * restlessness(raw[["side"]].to_numpy())
    assert np.abs(centres(calm) - centres(raw)).max() < 0.15 * height


def test_still_head_gives_a_still_crop(woman, tmp_path):
    rng = np.random.default_rng(0)
    still = place_head(texture(240, 320), woman, 160, 130, 170)
    images = [np.clip(still + rng.normal(0, 6, still.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    table = crop(write_video(tmp_path / "still.mp4", images), tmp_path).table
    assert centres(table).std(axis=0).max() < 0.25
    assert table["side"].std() < 0.003 * table["side"].mean()


def test_face_that_comes_late(demo_media, tmp_path):
    video = demo_media("noface_face.mov")  # the face is there from frame 96, 3.95 s, to 167
    with pytest.raises(UserError) as error:
        crop(video, tmp_path, start=3.0, end=4.5, max_gap=0.5)
    message = str(error.value)
    assert "noface_face.mov" in message and "frames 73 to 95 (23 frames, 0.9 s)" in message
    assert "scene cut" in message and "crop.max_gap" in message
    assert not (tmp_path / "crops.zip").exists()
    clip = crop(video, tmp_path, start=3.0, end=4.5, max_gap=2.0)
    assert (clip.table["image"] != "").all() and len(clip) == len(pd.read_csv(tmp_path / "frames.csv"))
    assert set(clip.table["status"][:23]) == {"held"} and set(clip.table["status"][23:]) == {"tracked"}


def test_identity_drops_frames_without_its_face(demo_media, tmp_path):
    # The face is there to frame 71, 3.0 s.
    table = crop(demo_media("face_noface.mov"), tmp_path, role="identity", start=2.0, end=4.0).table
    gone = table["index"] >= 72
    assert (table["status"][~gone] == "tracked").all() and (table["status"][gone] == "dropped").all() and gone.sum() > 10
    assert (table["image"][gone] == "").all() and set(table["reason"][gone]) <= {"no face", "another person"}


def test_nobody_there_names_the_file_and_the_frames(demo_media, tmp_path):
    decode_clip(media=demo_media("no_face.mp4"), frames=tmp_path / "frames.csv", source=tmp_path / "source.json",
                role="driver", start=None, end=None, holdout=0, settings=DecodeSettings())
    command = [sys.executable, "-m", "workflow_scripts.crop", "--media", str(demo_media("no_face.mp4"))]
    command += ["--frames", str(tmp_path / "frames.csv"), "--crops", str(tmp_path / "crops.zip"), "--size", "64"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "crops.zip").exists()
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert "no_face.mp4: frames 0 to 94 (95 frames, 4.0 s): no face found" in done.stderr


def test_group_photo_gives_one_person(demo_media, tmp_path):
    photo = demo_media("multi_face.jpg")
    largest = crop(photo, tmp_path, role="identity").table.iloc[0]
    assert (largest["status"], largest["time"], largest["duration"]) == ("tracked", 0, 0)
    assert 100 < largest["face_height"] < 150
    central = crop(photo, tmp_path, role="identity", face="most_central").table.iloc[0]
    middle = np.array([largest["frame_width"], largest["frame_height"]]) / 2
    distances = [np.linalg.norm(centres(row.to_frame().T)[0].astype(float) - middle) for row in (largest, central)]
    assert distances[1] < distances[0]


# ---- people who move ------------------------------------------------------------------------------------------


def test_two_people_who_pass_each_other_are_not_confused(woman, man, tmp_path):
    images, way = [], []
    for n in range(36):
        share = n / 35
        x = 90 + 300 * share
        canvas = place_head(texture(300, 480), man, 390 - 300 * share, 140, 110)
        images.append(place_head(canvas, woman, x, 165, 150))
        way.append((x, 165 - 150 / 200 * 6))
    table = crop(write_video(tmp_path / "two.mp4", images), tmp_path, smoothing=0.05).table
    assert np.abs(centres(table) - np.array(way))[:, 0].max() < 20, "the crop went to the other person"
    assert np.abs(np.diff(centres(table), axis=0)).max() < 20


def test_another_person_after_a_cut_is_not_followed(woman, man, tmp_path):
    first = [place_head(texture(240, 320, 1), woman, 160 + n / 4, 130, 170) for n in range(20)]
    second = [place_head(texture(240, 320, 2) // 2, man, 160, 130, 140) for n in range(8)]
    video = write_video(tmp_path / "cut.mp4", first + second)
    table = crop(video, tmp_path, role="identity").table
    assert list(table["status"]) == ["tracked"] * 20 + ["dropped"] * 8
    assert set(table["reason"][20:]) == {"another person"}
    with pytest.raises(UserError, match=r"frames 20 to 27 .* another person in 8 of them"):
        crop(video, tmp_path, max_gap=0.1)


def test_short_gap_is_bridged(woman, tmp_path):
    images = []
    for n in range(24):
        image = place_head(texture(240, 320), woman, 130 + 2 * n, 130, 160)
        if 10 <= n < 14:  # something is held before the face
            image[70:180, 80 + 2 * n:180 + 2 * n] = texture(110, 100, 5)
        images.append(image)
    table = crop(write_video(tmp_path / "gap.mp4", images), tmp_path).table
    assert list(table["status"]) == ["tracked"] * 10 + ["interpolated"] * 4 + ["tracked"] * 10
    assert set(table["reason"][10:14]) == {"no face"} and (table["image"] != "").all()
    # It moved on at the same pace meanwhile.
    assert np.abs(np.diff(centres(table)[:, 0]) - 2).max() < 1


# ---- parts ----------------------------------------------------------------------------------------------------


def test_smooth_keeps_straight_ways_and_has_no_lag():
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.08, 60))
    straight = np.column_stack([3 * times, 100 - times])
    np.testing.assert_allclose(smooth(times, straight, 0.2), straight, atol=1e-9)
    bump = np.exp(-((times - times[30]) ** 2) / 0.1)[:, None]
    result = smooth(times, bump, 0.1)
    assert abs(int(np.argmax(result)) - 30) <= 1 and result.max() < bump.max()
    np.testing.assert_array_equal(smooth(times, bump, 0.0), bump)


def test_gaps_are_held_at_cuts():
    states, status = fill_gaps(np.arange(6.0), np.array([1, 5]), np.array([[10.0], [50.0]]), [4])
    assert list(states[:, 0]) == [10, 10, 10, 10, 50, 50]
    assert status == ["held", "tracked", "held", "held", "held", "tracked"]
    states, status = fill_gaps(np.arange(6.0), np.array([1, 5]), np.array([[10.0], [50.0]]), [])
    assert list(states[:, 0]) == [10, 10, 20, 30, 40, 50] and status[2] == "interpolated"


@pytest.mark.parametrize("side", [40.0, 64.0, 173.3])
def test_square_is_exact_to_fractions_of_a_pixel(side):
    # A picture whose colours are its coordinates: the crop must show those that the transform gives.
    rows, columns = np.mgrid[:240, :240] + 0.5
    picture = np.stack([columns, rows, np.full_like(rows, 77)], axis=-1).astype(np.uint8)
    x, y, size = 21.4, 33.7, 64
    result = crop_square(picture, x, y, side, size).astype(float)
    points = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    expected = to_frame(points, x, y, side, size) - 0.5
    assert result.shape == (size, size, 3)
    np.testing.assert_allclose(result[..., :2], expected, atol=1.1)
    assert abs((result[..., :2] - expected).mean()) < 0.15
    np.testing.assert_allclose(to_crop(to_frame(points, x, y, side, size), x, y, side, size), points)


def test_padding_is_never_black_and_changes_no_real_pixel():
    picture = texture(120, 160)
    result = crop_square(picture, -60, -50, 200, 100)
    assert result.min() > 70
    inside = result[26:-17, 31:]
    reference = cv2.resize(picture[2:116, 2:140], (69, 57), interpolation=cv2.INTER_AREA)
    assert np.abs(inside.astype(int)[:, :69] - reference[:, :69]).mean() < 4
    # The further outside, the less structure.
    assert result[:8, :8].std() < result[30:38, 35:43].std()
