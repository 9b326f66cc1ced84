"""The networks that make mattes."""

import json
import sys

import cv2
import numpy as np
import pytest
from crops import astronaut_head, write_crops

from reenact.data.clip import Clip
from reenact.matting.mattes import face_region
from reenact.matting.segmenters import MediapipeSegmenter, open_segmenter, person_labels
from reenact.runtime.errors import UserError
from reenact.settings.segment import SegmentSettings
from reenact.stages.segment import segment_clip

LABELS = {0: "background", 1: "hair", 2: "skin"}


@pytest.fixture(scope="module")
def astronaut(demo_media):
    return astronaut_head(demo_media("astronaut.png"))


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
