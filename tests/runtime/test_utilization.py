"""Operations are counted as by hand, with layers of our own among them, and counting changes nothing."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from reenact.models.differences import mean_difference
from reenact.models.instance_norm import instance_norm_relu
from reenact.models.upsampling import enlarged_conv
from reenact.runtime.utilization import OperationCount, Utilization, measure_ceiling

BATCH, SIDE = 2, 16
GROUPED = 8 * 2 * 9
"""Weights of 8 channels in 4 groups, 3x3."""

FOUR_KERNELS = 4 * 4 * 8 * 2 * 2
"""Weights of the four 2x2 kernels in place of a 3x3 one of 8 -> 4 channels behind an enlargement."""

LINEAR = 4 * 5


def small_loss(weights):
    """Through every kind of layer that the networks have; the input learns nothing."""
    grouped, enlarging, linear = weights
    x = torch.linspace(-1, 1, BATCH * 8 * SIDE**2).view(BATCH, 8, SIDE, SIDE)
    x = functional.conv2d(x, grouped, padding=1, groups=4)
    x = enlarged_conv(x, enlarging)
    x = instance_norm_relu(x, torch.zeros(BATCH, 4), torch.ones(BATCH, 4), 1e-4)
    x = functional.linear(x.mean((2, 3)), linear, torch.zeros(5))
    return mean_difference(x, torch.zeros_like(x))


def make_weights():
    random = torch.Generator().manual_seed(0)
    shapes = ((8, 2, 3, 3), (4, 8, 3, 3), (5, 4))
    return [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]


# Forwards and gradients of weights; but for the first layer, gradients of its input too.
STEP = 2 * BATCH * (2 * SIDE**2 * GROUPED + 3 * (SIDE + 1) ** 2 * FOUR_KERNELS + 3 * LINEAR)
FORWARDS = 2 * BATCH * (SIDE**2 * GROUPED + (SIDE + 1) ** 2 * FOUR_KERNELS + LINEAR)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_operations_are_counted_as_by_hand(precision):
    with OperationCount() as count, torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
        small_loss(make_weights())
    assert count.total == STEP
    with OperationCount() as count, torch.no_grad():
        small_loss(make_weights())
    assert count.total == FORWARDS


def test_torch_counts_the_same_but_for_groups():
    """Which it forgets in gradients of weights: there, 4 groups are 4 times as much to it."""
    with FlopCounterMode(display=False) as theirs:
        small_loss(make_weights()).backward()
    assert theirs.get_total_flops() == STEP + 2 * BATCH * 3 * SIDE**2 * GROUPED


def test_counting_changes_no_gradient():
    counted, plain = make_weights(), make_weights()
    with OperationCount():
        loss = small_loss(counted)
    loss.backward()
    small_loss(plain).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(counted, plain, strict=True))


def test_the_ceiling_is_measured_without_chance():
    before = torch.get_rng_state()
    measure_ceiling.cache_clear()
    assert measure_ceiling(torch.device("cpu")) > 1e8
    assert torch.equal(torch.get_rng_state(), before)


def test_each_kind_of_step_is_counted_once(monkeypatch):
    monkeypatch.setattr("reenact.runtime.utilization.measure_ceiling", lambda device, precision: 1000.0)
    utilization, x = Utilization(torch.device("cpu"), "fp32"), torch.ones(5, 5)
    for kind, products in ((0, 1), (1, 2), (0, 7)):
        with utilization.counting(kind):
            for _ in range(products):
                x @ x
    assert utilization.numbers(0, seconds=0.5) == {"mfu": pytest.approx(250 / 0.5 / 1000)}
    assert utilization.numbers(1, seconds=1.0) == {"mfu": pytest.approx(500 / 1000)}


def test_of_compiled_networks_nothing_is_known():
    utilization = Utilization(torch.device("cpu"), "fp32", compiled=True)
    with utilization.counting(0):
        torch.ones(5, 5) @ torch.ones(5, 5)
    assert utilization.numbers(0, 1.0) == {}
