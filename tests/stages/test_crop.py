"""Stage crop: one person, followed calmly; nothing black, nothing silent."""

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from videos import place_head, texture, write_video

from reenact.data.clip import Clip
from reenact.faces.crop_pixels import crop_published
from reenact.faces.crop_table import COLUMNS, jitter
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.faces.square import ffhq_square, square_of
from reenact.media.frame_table import Stretch
from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings
from reenact.stages.crop import crop_clip
from reenact.stages.decode import decode_clip


@pytest.fixture(scope="module")
def woman(demo_media):
    """Head of the astronaut, 200 x 240 px; her face's middle is 13 px above the picture's, in its centre column."""
    return next(read_frames(probe(demo_media("astronaut.png")))).pixels()[0:240, 123:323]


@pytest.fixture(scope="module")
def man(demo_media):
    """Head of the man in single_face.mp4, likewise."""
    image = next(read_frames(probe(demo_media("single_face.mp4")))).pixels()
    return image[20:350, 145:420]


def crop(media, folder, role="driver", start=None, end=None, threads=1, **settings):
    folder.mkdir(exist_ok=True)
    frames = folder / "frames.csv"
    decode_clip(
        media=media,
        frames=frames,
        source=folder / "source.json",
        role=role,
        stretch=Stretch(start=start, end=end),
        settings=DecodeSettings(min_change=0.0, min_sharpness=0.0),
    )
    crop_clip(
        media=media,
        frames=frames,
        crops=folder / "crops.zip",
        settings=CropSettings(**{"size": 96, **settings}),
        threads=threads,
    )
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
    np.testing.assert_allclose(calm[["raw_x", "raw_y", "raw_side"]], raw[["x", "y", "side"]])
    facts = jitter(calm)
    assert facts["centre_after"] < 0.35 * facts["centre_before"] and facts["scale_after"] < 0.35 * facts["scale_before"]
    assert jitter(raw)["centre_after"] == pytest.approx(facts["centre_before"], rel=1e-6)


def test_quality_columns(carphone):
    table = carphone["calm"].table
    assert (table["angle"] == 0).all() and (table["scene"] == 0).all() and (table["matte"] == "").all()
    assert table["sharpness"].between(0.01, 1).all() and table["cut_off"].max() < 0.05
    assert table["yaw"].abs().max() < 40 and table["pitch"].abs().max() < 30 and table["roll"].abs().max() < 20


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
    assert (
        (table["status"][~gone] == "tracked").all() and (table["status"][gone] == "dropped").all() and gone.sum() > 10
    )
    assert (table["image"][gone] == "").all() and set(table["reason"][gone]) <= {"no face", "another person"}


def test_nobody_there_names_the_file_and_the_frames(demo_media, tmp_path):
    decode_clip(
        media=demo_media("no_face.mp4"),
        frames=tmp_path / "frames.csv",
        source=tmp_path / "source.json",
        role="driver",
        stretch=Stretch(),
        settings=DecodeSettings(),
    )
    command = [sys.executable, "-m", "workflow_scripts.crop", "--media", str(demo_media("no_face.mp4"))]
    command += ["--frames", str(tmp_path / "frames.csv"), "--crops", str(tmp_path / "crops.zip"), "--size", "64"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "crops.zip").exists()
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert "no_face.mp4: frames 0 to 94 (95 frames, 4.0 s): no face found" in done.stderr


@pytest.mark.parametrize("face", ["largest", "most_central", "0", "4", "point"])
def test_group_photo_gives_the_person_asked_for(demo_media, tmp_path, face):
    photo = demo_media("multi_face.jpg")
    with FaceFinder() as finder:
        image = next(read_frames(probe(photo))).pixels()
        boxes = sorted((found.box for found in finder.find(image)), key=lambda box: box[0])
    assert len(boxes) == 5
    middles = np.array([(box[:2] + box[2:]) / 2 for box in boxes])
    size = np.array(image.shape[1::-1])
    expected = {
        "largest": int(np.argmax([(box[2] - box[0]) * (box[3] - box[1]) for box in boxes])),
        "most_central": int(np.argmin(np.linalg.norm(middles - size / 2, axis=1))),
        "0": 0,
        "4": 4,
        "point": 3,
    }[face]
    if face == "point":
        face = f"{middles[3, 0] / size[0] * 100:.0f}%,{middles[3, 1]:.0f}"
    row = crop(photo, tmp_path, role="identity", face=face).table.iloc[0]
    assert (row["status"], row["time"], row["duration"]) == ("tracked", 0, 0) and 90 < row["face_height"] < 150
    place = np.array([row["x"], row["y"]], float) + row["side"] / 2
    assert np.argmin(np.linalg.norm(middles - place, axis=1)) == expected


def test_a_person_who_is_not_there_is_named(demo_media, tmp_path):
    photo = demo_media("multi_face.jpg")
    with pytest.raises(UserError, match=r"crop\.face: no photo has a person 7; at most 5 faces"):
        crop(photo, tmp_path, role="identity", face=7)
    with pytest.raises(
        UserError, match=r"crop\.face: '3,4' is not on a face; the frame has .* these faces: one around"
    ):
        crop(photo, tmp_path, role="identity", face="3,4")
    assert not (tmp_path / "crops.zip").exists()


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


def test_two_people_who_change_sides_at_a_cut(woman, man, tmp_path, capsys):
    """Each is followed through the cut, whoever is asked for; the cut is named."""

    def scene(left, right, count, seed):
        for n in range(count):
            canvas = place_head(texture(280, 480, seed), left, 120 + n / 2, 150, 130)
            yield place_head(canvas, right, 360 - n / 2, 150, 130)

    video = write_video(tmp_path / "cut.mp4", [*scene(woman, man, 16, 1), *scene(man, woman, 16, 7)])
    for face, sides in (
        ("120,140 at 0.1", "lr"),
        ("25%,50%", "lr"),
        ("75%,50% at 0.2", "rl"),
        ("120,150 at 1.2", "rl"),
    ):
        table = crop(video, tmp_path, face=face).table
        assert (table["status"] == "tracked").all() and list(table["scene"]) == [0] * 16 + [1] * 16
        found = ["l" if x < 240 else "r" for x in centres(table)[:, 0]]
        assert "".join(found) == sides[0] * 16 + sides[1] * 16, face
    said = capsys.readouterr().out
    assert "scene 1 begins at 0.640 s" in said and "2 people: 0 around" in said
    with pytest.raises(UserError, match=r"crop\.face: there is no person 2; 2 people: 0 around"):
        crop(video, tmp_path, face=2)
    with pytest.raises(UserError, match=r"outside of the frames that are used, 0\.00 to 1\.24 s"):
        crop(video, tmp_path, face="120,150 at 9")


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
            image[70:180, 80 + 2 * n : 180 + 2 * n] = texture(110, 100, 5)
        images.append(image)
    table = crop(write_video(tmp_path / "gap.mp4", images), tmp_path).table
    assert list(table["status"]) == ["tracked"] * 10 + ["interpolated"] * 4 + ["tracked"] * 10
    assert set(table["reason"][10:14]) == {"no face"} and (table["image"] != "").all()
    # It moved on at the same pace meanwhile.
    assert np.abs(np.diff(centres(table)[:, 0]) - 2).max() < 1


@pytest.fixture(scope="module")
def leaving(woman, tmp_path_factory):
    """A woman who walks out to the left and is away for 2 s, from frame 14 to 33 of 50, at 10 frames a second.

    In frame 44 something is held before her face.
    """
    images = []
    for n in range(50):
        out = min(max(n - 9, 0), max(38 - n, 0))  # steps from her place
        image = place_head(texture(240, 320), woman, 130 - 50 * out, 130, 160)
        if n == 44:
            image[60:200, 60:200] = texture(140, 140, 5)
        images.append(image)
    return write_video(tmp_path_factory.mktemp("leaving") / "leaving.mp4", images, [n / 10 for n in range(50)])


def test_face_that_leaves_for_two_seconds(leaving, tmp_path):
    drive = crop(leaving, tmp_path / "drive", max_gap=3.0).table
    there = (drive["status"] == "tracked").to_numpy()
    assert there[:10].all() and not there[14:34].any() and there[38:44].all() and there[45:].all()
    assert set(drive["status"][14:34]) == {"held"} and drive["status"][44] == "interpolated"
    assert (drive["image"] != "").all() and set(drive["reason"][14:34]) == {"no face"} and (drive["scene"] == 0).all()
    # Held where she was seen last, then where she is seen next; never at the corner of the frame.
    assert drive["x"].between(drive["x"][there].min() - 20, drive["x"][there].max() + 20).all()
    held = crop(leaving, tmp_path / "held", max_gap=3.0, no_face={"drivers": "hold"}).table
    assert held["status"][44] == "held" and held["raw_x"].isna()[14:34].all()
    bridged = crop(leaving, tmp_path / "bridged", short_gap=3.0, max_gap=3.0).table
    assert set(bridged["status"][14:34]) == {"interpolated"}
    with pytest.raises(UserError, match=r"longer than crop.max_gap = 2.0 s: frames 1\d to \d+ \(\d+ frames, 2.\d s\)"):
        crop(leaving, tmp_path / "gap")
    with pytest.raises(UserError, match=r"crop.no_face is 'fail': frames 1\d to .*; frame 44\. Choose"):
        crop(leaving, tmp_path / "fail", no_face={"drivers": "fail"})
    dropped = crop(leaving, tmp_path / "identity", role="identity").table
    np.testing.assert_array_equal(dropped["image"] != "", there & (dropped["cut_off"] <= 0.3))
    kept = crop(
        leaving, tmp_path / "kept", max_gap=3.0, role="identity", no_face={"identities": "hold"}, max_cut_off=1.0
    ).table
    assert (kept["image"] != "").all() and (kept["status"][14:34] == "held").all()
    assert not any((tmp_path / folder / "crops.zip").exists() for folder in ("gap", "fail"))


def test_poor_frames_of_an_identity_are_dropped_with_their_reason(woman, tmp_path):
    images = [place_head(texture(240, 320), woman, 150 + 2 * n, 130, 170) for n in range(8)]
    images[3], images[4] = (cv2.GaussianBlur(images[n], (0, 0), 2) for n in (3, 4))
    images += [place_head(texture(240, 320), woman, 245 + 15 * n, 130, 170) for n in range(4)]
    video = write_video(tmp_path / "poor.mp4", images)
    fine = crop(video, tmp_path / "driver").table
    sharp, cut_off = fine["sharpness"], fine["cut_off"]
    assert sharp[[3, 4]].max() < 0.5 * sharp[:3].min() and cut_off[11] > 0.1 + cut_off[0]
    assert (fine["image"] != "").all()
    limits = {"min_sharpness": float(sharp[0] + sharp[3]) / 2, "max_cut_off": float(cut_off[10] + cut_off[11]) / 2}
    table = crop(video, tmp_path / "identity", role="identity", **limits).table
    assert list(table["reason"][[3, 4, 11]]) == ["blurred", "blurred", "cut off"]
    assert (table["status"] == "dropped").sum() == 3 and table["sharpness"].notna().all()
    with pytest.raises(
        UserError, match=r"poor.mp4: frames 0 to 11 .*: no frame with a usable face \(turned away in \d+\)"
    ):
        crop(video, tmp_path / "none", role="identity", max_yaw=0)
    with pytest.raises(UserError, match=r"no face found that is high enough \(the highest: 1\d\d px\)"):
        crop(video, tmp_path / "low", min_face=220)


def test_threads_change_nothing(demo_media, tmp_path):
    one = crop(demo_media("single_face.mp4"), tmp_path / "one", end=0.6, threads=1)
    crop(demo_media("single_face.mp4"), tmp_path / "three", end=0.6, threads=3)
    assert len(one) > 10
    assert (tmp_path / "one" / "crops.zip").read_bytes() == (tmp_path / "three" / "crops.zip").read_bytes()


def test_crops_of_the_published_layout_pass_through(woman, tmp_path):
    folder, masks = tmp_path / "images-cropped" / "eve", tmp_path / "segmentation-cropped" / "eve"
    folder.mkdir(parents=True), masks.mkdir(parents=True)
    images = [cv2.resize(np.roll(woman[20:220], n, axis=0), (96, 96), interpolation=cv2.INTER_AREA) for n in range(3)]
    images[2] = texture(96, 96)
    for n, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{n}.png")
        if n != 1:
            Image.fromarray(np.uint8(np.hypot(*np.mgrid[-48:48, -48:48]) < 40) * 255).save(masks / f"{n}.png")
    clip = crop(folder, tmp_path / "out", role="identity")
    assert (
        list(clip.table["image"]) == ["000000.png", "000001.png", "000002.png"]
        and (clip.table["status"] == "tracked").all()
    )
    np.testing.assert_array_equal(clip.images(list(clip.table["image"])), images)
    assert list(clip.table["matte"]) == ["000000.matte.png", "", "000002.matte.png"]
    assert set(np.unique(clip.image("000000.matte.png"))) == {0, 255} and clip.image("000000.matte.png").shape == (
        96,
        96,
    )
    marks = clip.landmarks()
    assert np.isfinite(marks[:2]).all() and np.isnan(marks[2]).all() and (clip.table[["x", "y"]] == 0).all(axis=None)
    assert 0.3 < marks[0, 36:48].mean() < 0.7
    small = crop(folder, tmp_path / "small", role="identity", size=48)
    assert small.image("000001.png").shape == (48, 48, 3) and small.image("000000.matte.png").shape == (48, 48)


def test_ffhq_crops_are_upright(woman, tmp_path):
    video = []
    for angle in range(-25, 30, 5):
        canvas = place_head(texture(300, 300, 3), woman, 150, 150, 170)
        turn = cv2.getRotationMatrix2D((150, 150), -angle, 1)
        video += [cv2.warpAffine(canvas, turn, (300, 300), borderMode=cv2.BORDER_REFLECT)]
    clip = crop(write_video(tmp_path / "turned.mp4", video), tmp_path, geometry="ffhq", smoothing=0.0)
    np.testing.assert_allclose(clip.table["angle"].diff()[1:], 5, atol=2.5)
    assert clip.table["angle"].iloc[-1] - clip.table["angle"].iloc[0] == pytest.approx(50, abs=4)
    marks = clip.landmarks()
    eyes = marks[:, 42:48].mean(axis=1) - marks[:, 36:42].mean(axis=1)
    assert np.abs(eyes[:, 1]).max() < 0.03 and eyes[:, 0].min() > 0.15
    # The pictures are turned as well: all three look alike.
    images = clip.images(["000000.png", "000005.png", "000010.png"]).astype(float)[:, 30:80, 25:70]
    assert np.abs(images - images[1]).mean() < 12
    square = square_of(clip.table.iloc[0])
    again = ffhq_square(square.to_frame(marks[0], 1), 1.8)
    assert (again.side, again.angle) == pytest.approx((square.side, square.angle), rel=1e-4)


def test_published_squares_in_a_clip(demo_media, tmp_path):
    clip = crop(demo_media("carphone_pristine.mp4"), tmp_path, end=0.2, smoothing=0.0, geometry="published")
    row = clip.table.iloc[2]
    assert (clip.table[["x", "y", "side"]] % 1 == 0).all(axis=None)
    frame = next(f.pixels() for f in read_frames(probe(demo_media("carphone_pristine.mp4"))) if f.index == 2)
    expected = crop_published(frame, square_of(row), 96, row["face_height"])
    np.testing.assert_array_equal(clip.image(row["image"]), expected)
