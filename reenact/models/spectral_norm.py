"""Spectral norm (Miyato et al., ICLR 2018) as the published networks were trained with it.

`torch.nn.utils.parametrizations.spectral_norm` finds u first and then v; the older form that the authors use finds v
first. The two are half an iteration apart: training losses then differ from theirs by up to 3e-4 in the first step and
5e-3 in the second (`docs/decisions/spectral-norm.md`). Names in the state dict are those of torch's parametrization.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

START_ITERATIONS = 15
Layer = TypeVar("Layer", bound=nn.Module)


class SpectralNorm(nn.Module):
    """weight -> weight / its largest singular value, estimated by one power iteration per use in training mode.

    Args:
        weight: rows are the first dimension.
        eps: smallest length that a singular vector is divided by.
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.eps = eps
        matrix = weight.detach().flatten(1)
        self.register_buffer("_u", normalize(matrix.new_empty(len(matrix)).normal_(), dim=0, eps=eps))
        self.register_buffer("_v", normalize(matrix.new_empty(matrix.shape[1]).normal_(), dim=0, eps=eps))
        for _ in range(START_ITERATIONS):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight; in training mode the singular vectors move on first."""
        # In bfloat16 the singular value would be off by up to 0.4 %.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix)
            # Copies, since several passes move the vectors on before one backward pass.
            u, v = self._u.clone(), self._v.clone()
            return weight / torch.dot(u, torch.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """What assigning a weight stores: the value itself."""
        return value

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self._v.copy_(normalize(torch.mv(matrix.t(), self._u), dim=0, eps=self.eps))
        self._u.copy_(normalize(torch.mv(matrix, self._v), dim=0, eps=self.eps))


def spectral_norm(layer: Layer, eps: float = 1e-12) -> Layer:
    """Put the layer's `weight` under spectral norm. In place; returns the layer."""
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, eps))
    return layer


def fold_spectral_norms(module: nn.Module) -> None:
    """Replace spectrally normalised weights by plain ones, so that driving does not pay for the norms. In place."""
    for child in list(module.modules()):
        for name, plain in _plain_weights(child).items():
            # Not remove_parametrizations: it takes the property off the class, which copies of the module share.
            child.__class__ = type(child).__bases__[0]
            del child.parametrizations
            child.register_parameter(name, nn.Parameter(plain, requires_grad=False))


def _plain_weights(child: nn.Module) -> dict[str, Tensor]:
    """The normalised weights of one module as they are in evaluation mode, {} without norms; nothing is changed."""
    found = {}
    for name, norm in getattr(child, "parametrizations", {}).items():
        training = norm.training
        norm.eval()  # in training mode, to look is to make one power iteration
        found[name] = getattr(child, name).detach().clone()
        norm.train(training)
    return found


def folded_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict that `module` would have after `fold_spectral_norms`; the module itself is left as it is."""
    state = {key: value for key, value in module.state_dict().items() if ".parametrizations." not in f".{key}"}
    for prefix, child in module.named_modules():
        state |= {f"{prefix}.{name}": plain for name, plain in _plain_weights(child).items()}
    return state
