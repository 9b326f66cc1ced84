"""Stage decode: the frame table of a clip."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from videos import texture, write_video

from reenact.media.frame_table import Stretch
from reenact.runtime.errors import UserError
from reenact.settings.decode import DecodeSettings, read_time
from reenact.stages.decode import decode_clip


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds at 25 frames/s; every third frame is blurred."""
    images = [texture(96, 128, n) for n in range(50)]
    images = [cv2.GaussianBlur(image, (0, 0), 3) if n % 3 == 0 else image for n, image in enumerate(images)]
    return write_video(tmp_path_factory.mktemp("decode") / "video.mp4", images)


def decode(media, folder, role="identity", start=None, end=None, holdout=0.0, max_frames=256):
    settings = DecodeSettings(max_frames=max_frames)
    decode_clip(
        media=media,
        frames=folder / "frames.csv",
        source=folder / "source.json",
        role=role,
        stretch=Stretch(start=start, end=end, holdout=holdout),
        settings=settings,
    )
    return pd.read_csv(folder / "frames.csv", keep_default_na=False), json.loads((folder / "source.json").read_text())


def test_driver_lists_every_frame(video, tmp_path):
    table, source = decode(video, tmp_path, role="driver")
    assert list(table.columns) == [
        "index",
        "time",
        "source_time",
        "duration",
        "role",
        "sharpness",
        "change",
        "reason",
        "notes",
    ]
    assert list(table["index"]) == list(range(50)) and set(table["role"]) == {"drive"}
    np.testing.assert_allclose(table["source_time"], np.arange(50) / 25, atol=1e-6)
    np.testing.assert_allclose(table["duration"], 0.04, atol=1e-4)
    assert (
        source["kind"] == "video"
        and source["frames"] == 50
        and source["audio"] is False
        and source["damaged_frames"] == 0
    )
    assert source["fps"] == pytest.approx(25, rel=1e-3) and source["duration"] == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    "start, end, first, last",
    [(0.4, None, 10, 49), (None, "0.4", 0, 9), ("50%", "60%", 25, 29), (1.0, "100%", 25, 49), (0.41, 0.5, 11, 12)],
)
def test_start_and_end(video, tmp_path, start, end, first, last):
    table, source = decode(video, tmp_path, "driver", start, end)
    assert (table["index"].iloc[0], table["index"].iloc[-1]) == (first, last)
    assert table["time"].iloc[0] == 0 and source["start"] == pytest.approx(first / 25, abs=1e-6)
    assert source["end"] == pytest.approx((last + 1) / 25, abs=1e-3)


def test_stretches_of_one_file_share_no_frame(video, tmp_path):
    head, _ = decode(video, tmp_path, end="37%")
    tail, _ = decode(video, tmp_path, start="37%")
    assert list(head["index"]) + list(tail["index"]) == list(range(50))


def test_last_duration_of_uneven_frames(tmp_path):
    times = [0, 0.1, 0.2, 0.5, 0.6]
    path = write_video(tmp_path / "v.mkv", [texture(48, 64, n) for n in range(5)], times)
    table, _ = decode(path, tmp_path, "driver")
    np.testing.assert_allclose(table["duration"].iloc[:4], np.diff(times), atol=1e-3)
    assert 0 < table["duration"].iloc[4] <= 0.2
    part, _ = decode(path, tmp_path, "driver", end=0.3)
    assert part["duration"].iloc[-1] == pytest.approx(0.3, abs=1e-3)


def test_selection_is_spread_and_sharp(video, tmp_path):
    table, _ = decode(video, tmp_path, holdout=0.2, max_frames=10)
    train, holdout = table[table["role"] == "train"], table[table["role"] == "holdout"]
    assert list(holdout["index"]) == list(range(40, 50))
    assert len(train) == 10
    assert train["index"].iloc[0] < 5 and train["index"].iloc[-1] >= 35 and np.diff(train["index"]).max() <= 8
    assert not any(index % 3 == 0 for index in train["index"]), "a blurred frame was chosen"


def test_repeated_frames_are_found_in_a_video(tmp_path):
    """Every frame shown three times, as after a conversion from 10 to 30 frames/s."""
    path = write_video(tmp_path / "v.mp4", [texture(96, 128, n // 3) for n in range(30)], rate=30)
    table, _ = decode(path, tmp_path)
    assert list(table["index"][table["role"] == "train"]) == list(range(0, 30, 3))
    assert list(table["reason"][:4]) == ["", "like the frame before", "like the frame before", ""]


def test_photos_are_spread_over_the_folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(12):
        cv2.imwrite(str(folder / f"{n}.png"), texture(48, 64, n))
    cv2.imwrite(str(folder / "3b.png"), texture(48, 64, 3))  # the same photo again, right after 3.png
    table, _ = decode(folder, tmp_path, max_frames=4)
    assert list(table["index"]) == list(range(13)) and table["reason"][4] == "like the frame before"
    used = table["index"][table["role"] == "train"]
    assert len(used) == 4 and used.iloc[0] < 4 and used.iloc[-1] > 8


def test_photos_are_all_trained_on(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        cv2.imwrite(str(folder / f"{n}.png"), texture(48, 64, n))
    table, source = decode(folder, tmp_path, holdout=0.5, start=1.0)
    assert list(table["role"]) == ["train"] * 3 and (table[["time", "duration"]] == 0).all().all()
    assert source["kind"] == "photos" and source["fps"] is None and source["duration"] == 0


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"start": 3.0}, "after start 3.0"),
        ({"start": 1.0, "end": 0.5}, "not later than start"),
        ({"start": 0.501, "end": 0.502}, "between start and end"),
        ({"end": "120%"}, "0% to 100%"),
        ({"start": "soon"}, "must be seconds"),
    ],
)
def test_impossible_stretches(video, tmp_path, arguments, expected):
    with pytest.raises(UserError, match=expected):
        decode(video, tmp_path, **arguments)
    assert not (tmp_path / "frames.csv").exists()


def test_driver_must_be_a_video(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), texture(48, 64))
    with pytest.raises(UserError, match=r"photo\.png: a driver must be a video"):
        decode(tmp_path / "photo.png", tmp_path, role="driver")


@pytest.mark.parametrize(
    "value, expected",
    [
        (12.5, (12.5, False)),
        ("12.5", (12.5, False)),
        (0, (0.0, False)),
        ("1:30", (90.0, False)),
        ("1:02:03.5", (3723.5, False)),
        ("60%", (60.0, True)),
        ("101%", None),
        ("-1", None),
        (-1.0, None),
        ("soon", None),
        ("", None),
        ("1:", None),
    ],
)
def test_ends_of_stretches(value, expected):
    assert read_time(value) == expected
