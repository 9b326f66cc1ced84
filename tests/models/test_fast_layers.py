"""Layers that are written to be fast compute what the plain ones do, and so do their gradients."""

import pytest
import torch
from torch.nn import functional

from reenact.models.differences import mean_difference
from reenact.models.instance_norm import instance_norm_relu
from reenact.models.upsampling import SMALLEST, enlarged_conv
from reenact.models.vgg import PerceptualNetwork, perceptual_loss

FORMATS = [torch.contiguous_format, torch.channels_last]


def leaf(*shape, layout=torch.contiguous_format):
    return torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()


def check(ours, plain, leaves):
    """The same numbers and gradients."""
    torch.testing.assert_close(ours, plain)
    upstream = torch.randn_like(plain)
    for mine, theirs in zip(*(torch.autograd.grad(y, leaves, upstream) for y in (ours, plain)), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("layout", FORMATS)
def test_instance_norm(layout):
    x, bias, scale = leaf(3, 5, 8, 6, layout=layout), leaf(3, 5), leaf(3, 5)
    plain = functional.instance_norm(x, eps=1e-4) * scale[:, :, None, None] + bias[:, :, None, None]
    check(instance_norm_relu(x, bias, scale, 1e-4), functional.relu(plain), (x, bias, scale))


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("side", [SMALLEST - 1, SMALLEST, SMALLEST + 1])
def test_enlarged_convolution(layout, side):
    x, weight = leaf(2, 3, side, side + 2, layout=layout), leaf(4, 3, 3, 3)
    plain = functional.conv2d(functional.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    ours = enlarged_conv(x, weight)
    check(ours, plain, (x, weight))
    assert side < SMALLEST or ours.is_contiguous(memory_format=layout)


def test_mean_difference():
    ours, true = leaf(2, 3, 4, 4), leaf(2, 3, 4, 4)
    check(mean_difference(ours, true), functional.l1_loss(ours, true.detach()), (ours,))
    large = torch.rand(1, 8, 1000, 1000)
    assert mean_difference(large, torch.zeros(())).double() == pytest.approx(large.double().mean().item(), rel=1e-5)
    half = torch.ones(1, 1, 300, 300, dtype=torch.bfloat16), torch.zeros(1, 1, 300, 300, dtype=torch.bfloat16)
    found = mean_difference(*half)
    assert found.dtype == torch.float32 and found == 1


def test_a_perceptual_loss_keeps_its_gradient_and_no_maps():
    network, output, target = PerceptualNetwork(width=0.1).double(), leaf(2, 3, 32, 32), leaf(2, 3, 32, 32)
    plain = sum(functional.l1_loss(a, b.detach()) for a, b in zip(network(output), network(target), strict=True))
    ours = perceptual_loss(network, output, target)
    check(ours, plain, (output,))
    assert ours.grad_fn.next_functions[0][0].variable is output  # no graph of the network in between
    with torch.no_grad():
        torch.testing.assert_close(perceptual_loss(network, output, target), plain.detach())
