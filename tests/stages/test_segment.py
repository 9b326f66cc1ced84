"""Stage segment: the person in the middle, and nobody else."""

import json
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from reenact.data.clip import Clip, write_clip
from reenact.faces.crop_pixels import crop_square
from reenact.faces.crop_table import COLUMNS as CROP_COLUMNS
from reenact.faces.square import Square
from reenact.matting.mattes import (
    MatteFrame,
    face_region,
    inside_frame,
    keep_person,
    neighbourhoods,
    sharpen_matte,
    smoothed,
)
from reenact.matting.segmenters import MediapipeSegmenter, person_labels
from reenact.media.frame_table import Stretch
from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError
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


def write_crops(path, images, **columns):
    """A clip as stage crop writes it, of uint8 RGB pictures; `extra` images are stored beside them."""
    extra = columns.pop("extra", {})
    table = pd.DataFrame([dict.fromkeys(CROP_COLUMNS, 0) for _ in images])
    table["index"], table["time"], table["duration"] = range(len(images)), np.arange(len(images)) / 25, 0.04
    table["role"], table["status"], table["reason"] = "train", "tracked", ""
    table["image"] = [f"{i:06d}.png" for i in range(len(images))]
    table["matte"] = ""
    table["side"] = table["frame_width"] = table["frame_height"] = 256
    for name, values in columns.items():
        table[name] = values
    with write_clip(path) as writer:
        for name, image in [*zip(table["image"], images), *extra.items()]:
            writer.add(name, image)
        writer.finish(table)
    return path


@pytest.fixture(scope="module")
def astronaut(demo_media):
    """The astronaut's head, 256 x 256."""
    return crop_square(
        next(read_frames(probe(demo_media("astronaut.png")))).pixels(), Square.from_corner(128, 8, 190), 256
    )


# ---- whole clips --------------------------------------------------------------------------------------------


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


# ---- one matte ----------------------------------------------------------------------------------------------


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


def test_the_person_is_where_the_landmarks_are():
    matte = np.zeros((128, 128), np.float32)
    matte[50:90, 20:50] = matte[50:90, 70:100] = 1
    angles = np.linspace(0, 2 * np.pi, 68)
    landmarks = np.column_stack([0.66 + 0.1 * np.cos(angles), 0.55 + 0.1 * np.sin(angles)])
    result = keep_person(matte, face_region(128, landmarks))
    assert result[50:90, 70:100].min() == 1 and result[:, :60].max() == 0
    np.testing.assert_array_equal(face_region(128, np.full((68, 2), np.nan)), face_region(128))
    np.testing.assert_array_equal(face_region(128, landmarks + 5), face_region(128))


def test_sharpen_keeps_one_half():
    values = np.array([[0, 0.25, 0.4, 0.5, 0.6, 1]], np.float32)
    np.testing.assert_allclose(sharpen_matte(values, 2.0), [[0, 0, 0.3, 0.5, 0.7, 1]], atol=1e-6)
    np.testing.assert_array_equal(sharpen_matte(values, 1.0), values)


def test_smoothing_is_over_time_and_not_over_change():
    still = np.full((64, 64, 3), 100, np.uint8)
    times = [0.0, 0.04, 0.08, 5.0]
    values = [0.0, 0.6, 0.0, 0.9]

    def run(pictures, sigma=0.04, scenes=(0, 0, 0, 0)):
        moments = [
            MatteFrame(n, t, s, np.full((8, 8), v, np.float32), p)
            for n, (t, s, v, p) in enumerate(zip(times, scenes, values, pictures))
        ]
        return {
            moment.row: float(smoothed(moment, near, sigma).mean()) for moment, near in neighbourhoods(moments, sigma)
        }

    same = run([still] * 4)
    assert list(same) == [0, 1, 2, 3]
    assert 0.1 < same[0] < 0.3 and 0.2 < same[1] < 0.4 and same[3] == pytest.approx(0.9), "frames far apart do not meet"
    changed = run([still, still + 100, still + 100, still])
    assert changed[0] == pytest.approx(0, abs=1e-3)
    assert run([still] * 4, scenes=(0, 1, 1, 1))[0] == 0, "nor do scenes"
    assert run([still] * 4, sigma=0.0) == pytest.approx(dict(enumerate(values)))


def test_inside_frame():
    assert inside_frame(Square.from_corner(10, 10, 50), 100, 100, 20) is None
    part = inside_frame(Square.from_corner(-50, 0, 100), 100, 100, 100)
    assert part[:, :39].max() == 0 and part[:, 50:].min() == 1 and 0.3 < part[50, 45] < 0.7
    turned = inside_frame(Square.from_corner(-50, 0, 100, 90), 100, 100, 100)
    assert (turned.max(axis=0) == 1).all() and (turned.max(axis=1) == 0).any(), (
        "a turned square has its padding elsewhere"
    )


def test_mediapipe_takes_any_size(astronaut):
    wide = cv2.resize(astronaut, (300, 200))
    with MediapipeSegmenter() as segmenter:
        assert segmenter.mattes(np.stack([wide, wide])).shape == (2, 200, 300)


def test_a_missed_face_is_looked_at_again(astronaut):
    """What the first model leaves out, here a face where there is none, is shown to the second."""
    face, nowhere = face_region(256), np.zeros((256, 256), np.uint8)
    nowhere[5:35, 5:35] = 1
    with MediapipeSegmenter() as first, MediapipeSegmenter(general=True) as second:
        one, other = first.mattes(astronaut[None])[0], second.mattes(astronaut[None])[0]
        np.testing.assert_array_equal(first.mattes(astronaut[None], [face])[0], one)
        better = max(one, other, key=lambda matte: matte[nowhere > 0].mean())
        np.testing.assert_array_equal(first.mattes(astronaut[None], [nowhere])[0], better)


# ---- models of Hugging Face ---------------------------------------------------------------------------------

LABELS = {0: "background", 1: "hair", 2: "skin"}


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    """A tiny random SegFormer that makes strong statements."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )
    folder = tmp_path_factory.mktemp("segformer")
    network = transformers.SegformerForSemanticSegmentation(config)
    for weights in network.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, 0, 0.5)
    network.save_pretrained(folder)
    facts = {"size": {"height": 256, "width": 256}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    return folder


def test_transformers_gives_probabilities_of_its_labels(segformer, astronaut, tmp_path):
    import torch
    from transformers import SegformerForSemanticSegmentation

    crops = write_crops(tmp_path / "crops.zip", [astronaut, astronaut[:, ::-1].copy(), astronaut])
    settings = SegmentSettings(network="transformers", model=str(segformer), batch_size=2, sharpen=1.0, smoothing=0.0)
    segment_clip(crops=crops, mattes=tmp_path / "a.zip", settings=settings, device="cpu", threads=2)
    first, other, third = Clip(tmp_path / "a.zip").images([f"00000{i}.png" for i in range(3)])
    np.testing.assert_allclose(first.astype(int), third, atol=1)  # batches of two and of one round differently
    assert (first != other).mean() > 0.5

    pixels = torch.from_numpy(astronaut).permute(2, 0, 1)[None] / 255
    logits = SegformerForSemanticSegmentation.from_pretrained(segformer).eval()((pixels - 0.5) / 0.25).logits
    background = logits.softmax(1)[0, 0].detach().numpy()
    from reenact.matting.segmenters import open_segmenter

    with open_segmenter(settings, device="cpu") as segmenter:
        matte = segmenter.mattes(astronaut[None])[0]
        # Logits, and so odds, are a quarter of the size, and their pixels' centres lie between those of the matte.
        assert np.abs(cv2.resize(matte, (64, 64), interpolation=cv2.INTER_AREA) - (1 - background)).mean() < 0.03
    with open_segmenter(settings.model_copy(update={"labels": ["Hair"]}), device="cpu") as segmenter:
        assert (segmenter.mattes(astronaut[None])[0] < matte).all()


def test_a_universal_model(astronaut, tmp_path):
    transformers = pytest.importorskip("transformers")
    backbone = transformers.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.MaskFormerConfig(
        backbone_config=backbone,
        fpn_feature_size=32,
        mask_feature_size=32,
        id2label=LABELS,
        decoder_config=transformers.DetrConfig(
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            num_queries=4,
            encoder_attention_heads=1,
            decoder_attention_heads=1,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
        ),
    )
    transformers.MaskFormerForInstanceSegmentation(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 64}))
    from reenact.matting.segmenters import open_segmenter

    with open_segmenter(SegmentSettings(network="transformers", model=str(tmp_path)), device="cpu") as segmenter:
        matte = segmenter.mattes(astronaut[None])
    assert matte.shape == (1, 256, 256) and matte.dtype == np.float32 and 0 <= matte.min() < matte.max() <= 1


def failing(tmp_path, astronaut, **settings):
    crops = write_crops(tmp_path / "crops.zip", [astronaut])
    with pytest.raises(UserError) as error:
        segment_clip(
            crops=crops,
            mattes=tmp_path / "mattes.zip",
            settings=SegmentSettings(network="transformers", **settings),
            device="cpu",
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops.zip"], "nothing half-written"
    assert "\n" not in str(error.value)
    return str(error.value)


def test_models_that_cannot_be_had(astronaut, tmp_path, segformer, tmp_path_factory, monkeypatch):
    pytest.importorskip("transformers")
    message = failing(tmp_path, astronaut, model="nobody/nothing-of-this-name", offline=True)
    assert (
        "segment.model: 'nobody/nothing-of-this-name' cannot be loaded" in message
        and "segment.network: mediapipe" in message
    )
    assert "neither an existing folder nor an id" in failing(tmp_path, astronaut, model="./no/such/folder")
    empty = tmp_path_factory.mktemp("empty")
    assert "a folder needs config.json" in failing(tmp_path, astronaut, model=str(empty))
    assert "no label 'nose'; " in failing(tmp_path, astronaut, model=str(segformer), labels=["nose", "hair"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'reenact[transformers]'" in failing(tmp_path, astronaut)


def test_labels():
    settings = SegmentSettings(network="transformers", model="a/b")
    assert person_labels({1: "Skin", 0: "Background"}, settings) == [False, True]
    assert person_labels({0: "wall", 1: "Person"}, settings.model_copy(update={"labels": ["person"]})) == [False, True]
    with pytest.raises(
        UserError, match="no label is called 'background', so those of the person must be named; a/b has: wall, person"
    ):
        person_labels({0: "wall", 1: "person"}, settings)
    with pytest.raises(UserError, match="nothing is left for the background"):
        person_labels({0: "wall", 1: "person"}, settings.model_copy(update={"labels": ["wall", "person"]}))
