"""The model file: what it keeps for training on, and plain weights where it is for driving alone."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.models.spectral_norm import fold_spectral_norms
from reenact.runtime.errors import UserError


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(3)
    net = Reenactor(PRESETS["small"], personal=True)
    torch.nn.init.normal_(net.identity_embedding)
    return net.eval()


def picture(net):
    """What a personal network makes of three frames, RGB and matte in one tensor."""
    frames = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.cat(net.generator(net.identity_embedding.expand(3, -1), net.pose_encoder(frames)), 1)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_model_with_discriminator_keeps_what_training_needs(nets, tmp_path):
    discriminator = build_discriminator(nets.architecture, 2)
    save_model(tmp_path / "m.safetensors", nets, {"iteration": 7}, discriminator)
    again, metadata, weights = load_model(tmp_path / "m.safetensors")
    assert metadata == {"iteration": 7} and again.architecture == nets.architecture
    assert same(nets.state_dict(), again.state_dict())
    assert same(weights, {k: v for k, v in discriminator.state_dict().items() if not k.startswith("labels.")})


def test_a_model_without_has_plain_weights_and_gives_the_same_picture(nets, tmp_path):
    save_model(tmp_path / "m.safetensors", nets, {})
    again = load_model(tmp_path / "m.safetensors")[0].eval()
    assert not any("parametrizations" in key for key in again.state_dict())
    torch.testing.assert_close(picture(again), picture(nets), atol=1e-5, rtol=1e-5)
    save_model(tmp_path / "again.safetensors", again, {})
    assert same(load_model(tmp_path / "again.safetensors")[0].state_dict(), again.state_dict())


def test_saving_leaves_the_network_and_its_copies_as_they_are(nets, tmp_path):
    training, average = copy.deepcopy(nets).train(), copy.deepcopy(nets)
    before = {key: value.clone() for key, value in training.state_dict().items()}
    for net in (training, average):
        save_model(tmp_path / "m.safetensors", net, {})
    assert same(before, training.state_dict()) and training.generator.tail_conv.training
    fold_spectral_norms(average)
    training.generator(training.identity_embedding, torch.zeros(1, 64))[0].sum().backward()
    assert training.generator.tail_conv.parametrizations.weight.original.grad is not None


def test_the_file_may_be_read_by_whoever_may_read_others(nets, tmp_path):
    save_model(tmp_path / "m.safetensors", nets, {})
    (tmp_path / "other").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_files_that_are_not_models_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"gone\.safetensors: not a readable model file"):
        load_model(tmp_path / "gone.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, I am no model")
    with pytest.raises(UserError, match=r"text\.safetensors: not a readable model file"):
        load_model(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"reenact": json.dumps({"format": "x"})})
    with pytest.raises(UserError, match=r"other\.safetensors: not a reenact model \(format 'x'"):
        load_model(tmp_path / "other.safetensors")
