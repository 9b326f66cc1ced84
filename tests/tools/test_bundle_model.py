"""The file of the bundled meta-model: what it says about itself, and what is refused."""

import pandas as pd
import pytest
import torch

from reenact import UserError
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.tools import bundle_model as tool
from reenact.tools.bundle_model import METHOD, METRICS, bundle_model


@pytest.fixture
def meta(tmp_path, monkeypatch):
    """A meta-model with random weights that learned from two clips, and the table of all clips."""
    monkeypatch.setattr(tool, "MAX_SIZE", 2**25)
    torch.manual_seed(0)
    net = Reenactor(PRESETS["small"]).eval()
    settings = {"seed": 1, "perceptual_weights": "/home/anna/vgg19.pth", "start": "/home/anna/runs/1", "resume": None}
    metadata = {"stage": "meta", "clips": ["b_1", "a_1"], "settings": settings}
    save_model(tmp_path / "meta.safetensors", net, metadata, build_discriminator(net.architecture, 2))
    clips = pd.DataFrame({"id": ["a_1", "b_1", "c_1"], "person": ["a", "b", "c"], "source": "x/y", "licence": "MIT"})
    clips.to_csv(tmp_path / "clips.csv", index=False)
    return {
        "model": tmp_path / "meta.safetensors",
        "clips": tmp_path / "clips.csv",
        "bundled": tmp_path / "b.safetensors",
    }


def test_it_holds_clips_scores_and_no_folder_of_the_machine(meta, tmp_path):
    rows = [
        {"method": method, "frames": frames, "protocol": "self", **dict.fromkeys(METRICS, value)}
        for method, frames, value in ((METHOD, 1, 0.25), (METHOD, 1, 0.75), (METHOD, 8, 0.125), ("another", 1, 9.0))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    bundle_model(**meta, scores=tmp_path / "scores.csv")
    reenactor, metadata, discriminator = load_model(meta["bundled"])
    assert [clip["person"] for clip in metadata["trained_on"]] == ["b", "a"]
    assert metadata["scores"]["1 frames, self"]["psnr"] == 0.5 and metadata["scores"]["8 frames, self"]["psnr"] == 0.125
    assert "/home" not in str(metadata) and metadata["settings"]["perceptual_weights"] == "vgg19.pth"
    assert discriminator and meta["bundled"].stat().st_size < 0.6 * meta["model"].stat().st_size
    original = load_model(meta["model"]).reenactor.state_dict()
    assert all(torch.allclose(value, original[key], atol=2e-3) for key, value in reenactor.state_dict().items())


def test_what_cannot_be_bundled_leaves_the_file_of_before(meta, monkeypatch, tmp_path):
    bundle_model(**meta)
    before = meta["bundled"].read_bytes()
    with pytest.raises(UserError, match="no clip 'b_1'"):
        table = pd.read_csv(meta["clips"]).query("id != 'b_1'")
        table.to_csv(tmp_path / "fewer.csv", index=False)
        bundle_model(**{**meta, "clips": tmp_path / "fewer.csv"})
    avatar = tmp_path / "avatar.safetensors"
    save_model(avatar, load_model(meta["model"]).reenactor, {"settings": {}, "clips": []})
    with pytest.raises(UserError, match="not a meta-model"):
        bundle_model(**{**meta, "model": avatar})
    monkeypatch.setattr(tool, "MAX_SIZE", 1000)
    with pytest.raises(UserError, match="at most 1,000"):
        bundle_model(**meta)
    assert meta["bundled"].read_bytes() == before and not list(tmp_path.glob(".making-*"))
