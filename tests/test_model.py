"""The model file and the avatar that is driven from it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reenact.errors import UserError
from reenact.model import Avatar, Reenactor, build_discriminator, load_model, save_model
from reenact.networks.architecture import PRESETS


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(3)
    net = Reenactor(PRESETS["small"], personal=True)
    torch.nn.init.normal_(net.identity_embedding)
    return net.eval()


@pytest.fixture
def file(nets, tmp_path):
    save_model(tmp_path / "model.safetensors", nets, {"iteration": 7}, build_discriminator(nets.architecture, 2))
    return tmp_path / "model.safetensors"


def test_round_trip(nets, file):
    again, about, judge = load_model(file)
    assert about == {"iteration": 7} and again.architecture == nets.architecture
    assert all(torch.equal(a, b) for a, b in zip(nets.state_dict().values(), again.state_dict().values(), strict=True))
    build_discriminator(nets.architecture, 2).load_state_dict(judge)


def test_avatar_without_spectral_norms_gives_the_same_picture(nets, file):
    avatar, frames = Avatar.load(file, "cpu"), torch.rand(3, 3, 64, 64)
    rgb, matte = avatar.render(avatar.pose_embedding(frames))
    with torch.no_grad():
        expected, expected_matte = nets.generator(nets.identity_embedding.expand(3, -1), nets.pose_encoder(frames))
    torch.testing.assert_close(rgb, expected.clamp(0, 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(matte, expected_matte, atol=1e-5, rtol=1e-4)
    assert not any("parametrizations" in name for name in avatar._reenactor.state_dict())


def test_driving_streams_and_does_not_depend_on_the_batch_size(file):
    avatar = Avatar.load(file, "cpu")
    frames = np.random.default_rng(0).integers(0, 255, (5, 128, 128, 3), dtype=np.uint8)
    one_by_one = list(avatar.drive(iter(frames), batch_size=1))
    together = list(avatar.drive(frames, batch_size=4))
    assert len(one_by_one) == len(together) == 5
    assert one_by_one[0][0].shape == (64, 64, 3) and one_by_one[0][1].shape == (64, 64)
    for (a, matte_a), (b, matte_b) in zip(one_by_one, together):
        assert np.abs(a.astype(int) - b).max() <= 1 and np.abs(matte_a.astype(int) - matte_b).max() <= 1


def test_meta_model_needs_an_identity(tmp_path):
    net = Reenactor(PRESETS["small"]).eval()
    save_model(tmp_path / "meta.safetensors", net, {})
    avatar, frames = Avatar.load(tmp_path / "meta.safetensors", "cpu"), torch.rand(2, 3, 64, 64)
    pose = avatar.pose_embedding(frames)
    with pytest.raises(UserError, match="a meta-model has no identity of its own"):
        avatar.render(pose)
    identity = avatar.identity_embedding(frames).mean(0, keepdim=True)
    assert avatar.render(pose, identity)[0].shape == (2, 3, 64, 64)


def test_files_that_are_not_models_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"gone\.safetensors: not a readable model file"):
        load_model(tmp_path / "gone.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, I am no model")
    with pytest.raises(UserError, match=r"text\.safetensors: not a readable model file"):
        load_model(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"reenact": json.dumps({"format": "x"})})
    with pytest.raises(UserError, match=r"other\.safetensors: not a reenact model \(format 'x'"):
        load_model(tmp_path / "other.safetensors")
