"""The networks: sizes, ranges, and that gradients reach everything."""

import pytest
import torch

from reenact.models.architecture import PRESETS, Architecture
from reenact.models.discriminator import feature_distance
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.models.vgg import PerceptualNetwork, perceptual_distance, perceptual_loss
from reenact.runtime.errors import UserError

# Counted in the authors' checkpoint: identity encoder, pose encoder, generator, discriminator with 12 labels.
PUBLISHED_PARAMETERS = (24_028_992, 2_551_808, 37_516_996, 19_549_377)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_preset_has_the_published_sizes():
    net = Reenactor(PRESETS["published"])
    parts = (net.identity_encoder, net.pose_encoder, net.generator, build_discriminator(net.architecture, 12))
    assert tuple(count(part) for part in parts) == PUBLISHED_PARAMETERS


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Reenactor(PRESETS["small"]), build_discriminator(PRESETS["small"], 3)


def test_shapes_and_ranges(small):
    net, discriminator = small
    frames = torch.rand(2, 3, 3, 64, 64)
    identity, pose = net.embed(frames).mean(1), net.pose_encoder(frames[:, 0])
    assert identity.shape == (2, 256) and pose.shape == (2, 64)
    rgb, matte = net.generator(identity, pose)
    assert rgb.shape == (2, 3, 64, 64) and matte.shape == (2, 1, 64, 64)
    assert 0 <= matte.min() and matte.max() <= 1
    score, maps = discriminator(rgb, discriminator.label_rows(torch.tensor([0, 2])))
    assert score.shape == (2,) and [m.shape[-1] for m in maps] == [32, 16, 8, 4, 4]
    assert all(m.min() >= 0 for m in maps[:-1]) and maps[-1].min() < 0


def test_gradients_reach_every_parameter(small):
    net, discriminator = small
    frames = torch.rand(2, 2, 3, 64, 64)
    rgb, matte = net.generator(net.embed(frames).mean(1), net.pose_encoder(frames[:, 0]))
    (
        discriminator(rgb, discriminator.label_rows(torch.tensor([0, 1])))[0].sum() + matte.mean() + rgb.square().mean()
    ).backward()
    for module in (net, discriminator):
        assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_output_depends_on_pose_and_on_identity(small):
    net, _ = small
    identity, pose = torch.randn(2, 256), torch.randn(2, 64)
    with torch.no_grad():
        both = net.generator(identity, pose)[0]
        assert (both - net.generator(identity, pose.flip(0))[0]).abs().mean() > 1e-4
        assert (both - net.generator(identity.flip(0), pose)[0]).abs().mean() > 1e-4


def test_one_row_of_labels_has_unit_length():
    discriminator = build_discriminator(PRESETS["small"], 1)
    discriminator.labels.weight = torch.full((1, 256), 3.0)
    assert discriminator.label_rows(torch.tensor([0])).norm().item() == pytest.approx(1, abs=1e-4)


def test_feature_distance_is_a_mean_over_maps():
    fake, real = [torch.zeros(1, 2), torch.zeros(1, 4)], [torch.ones(1, 2), torch.full((1, 4), 3.0)]
    assert feature_distance(fake, real).item() == 2


def test_perceptual_network_is_fixed_frozen_and_orders_pictures():
    network = PerceptualNetwork(0.25)
    again = PerceptualNetwork(0.25)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert not any(p.requires_grad for p in network.parameters())
    picture = torch.rand(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    noisy, other = (picture + 0.1 * torch.randn_like(picture)).clamp(0, 1), picture.flip(3)
    assert len(network(picture)) == 13
    assert perceptual_loss(network, picture, picture) == 0
    assert perceptual_loss(network, noisy, picture) < perceptual_loss(network, other, picture)
    assert perceptual_distance(network, picture, picture).item() == pytest.approx(0, abs=1e-6)
    assert perceptual_distance(network, noisy, picture) < perceptual_distance(network, other, picture)


def test_architecture_round_trip_and_unknown_sizes():
    for architecture in PRESETS.values():
        assert Architecture.from_json(architecture.to_json(), "x") == architecture
    with pytest.raises(UserError, match=r"old\.safetensors: unknown architecture.*bottleneck"):
        Architecture.from_json(PRESETS["small"].to_json() | {"bottleneck": 3}, "old.safetensors")
