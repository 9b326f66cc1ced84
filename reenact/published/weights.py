"""Names of the authors' state dicts (their spectral norm is torch's old form) and of ours."""

import re
from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor

from reenact.models.architecture import PRESETS, Architecture
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.runtime.errors import UserError

State = dict[str, Tensor]

# Ours -> theirs, tried in order. The two encoders have torchvision's names on both sides.
_GENERATOR = (
    (r"^constant$", "constant.constant"),
    (r"^blocks\.(\d+)\.skip\.", r"decoder_blocks.\1.skip.1."),
    (r"^projector\.", "affine_params_projector."),
)
_DISCRIMINATOR = (
    (r"^stem\.", "down_block."),
    (r"^stem_skip\.", "skip.0."),
    (r"^blocks\.(\d+)\.conv1\.", r"blocks.\1.block.2."),
    (r"^blocks\.(\d+)\.conv2\.", r"blocks.\1.block.5."),
    (r"^blocks\.(\d+)\.skip\.", r"blocks.\1.skip.0."),
    (r"^labels\.", "embed."),
)
_SPECTRAL_NORM = (
    (r"parametrizations\.weight\.original$", "weight_orig"),
    (r"parametrizations\.weight\.0\._(u|v)$", r"weight_\1"),
)
_RESIDUAL_BLOCKS = 2


def convert(
    embedder: State,
    generator: State,
    discriminator: State,
    *,
    architecture: Architecture = PRESETS["published"],
    source: str = "the checkpoint",
) -> tuple[State, State, bool]:
    """Rename the authors' three state dicts to those of our `Reenactor` and `Discriminator`.

    Args:
        embedder, generator, discriminator: as in their checkpoint; EMA weights have the same names as raw ones.
        architecture: sizes that the tensors must have.
        source: what to name in errors.

    Returns:
        State of the reenactor, state of the discriminator, and whether it is a personal (fine-tuned) model.

    Raises:
        UserError: a tensor is missing, is not known, or has another shape; names the first one.
    """
    personal = "identity_embedding" in generator
    rows = discriminator.get("embed.weight_orig")
    labels = len(rows) if rows is not None and rows.ndim else 1
    theirs = {"embedder": embedder, "generator": generator, "discriminator": discriminator}
    ours = reenactor_names(architecture, personal)
    own_discriminator = discriminator_names(architecture, labels)
    state = {key: _take(theirs[part], part, name, shape, source) for key, (part, name, shape) in ours.items()}
    converted = {
        key: _take(theirs[part], part, name, shape, source) for key, (part, name, shape) in own_discriminator.items()
    }
    known = {(part, name) for part, name, _ in (*ours.values(), *own_discriminator.values())}
    for part, tensors in theirs.items():
        extra = next((name for name in tensors if (part, name) not in known), None)
        if extra is not None:
            raise UserError(f"{source}: {part}.{extra}: not a part of the published architecture")
    return state, converted, personal


def _take(tensors: State, part: str, name: str, shape: torch.Size, source: str) -> Tensor:
    if name not in tensors:
        raise UserError(f"{source}: {part}.{name}: missing")
    tensor = tensors[name]
    if not shape and tensor.numel() == 1:
        return tensor.reshape(())  # a counter that went through numpy comes back as a list of one
    if tensor.shape != shape:
        raise UserError(
            f"{source}: {part}.{name}: has shape {list(tensor.shape)}, the published architecture has {list(shape)}"
        )
    return tensor


@lru_cache
def reenactor_names(architecture: Architecture, personal: bool) -> dict[str, tuple[str, str, torch.Size]]:
    """Our key -> their network, their key, shape."""
    state = Reenactor(architecture, personal).state_dict()
    return {key: (*_theirs(key, architecture), value.shape) for key, value in state.items()}


@lru_cache
def discriminator_names(architecture: Architecture, labels: int) -> dict[str, tuple[str, str, torch.Size]]:
    """As `reenactor_names`, of a discriminator with so many labels."""
    state = build_discriminator(architecture, labels).state_dict()
    rules = (*_DISCRIMINATOR, *_SPECTRAL_NORM)
    return {key: ("discriminator", _rename(key, rules), value.shape) for key, value in state.items()}


def _theirs(key: str, architecture: Architecture) -> tuple[str, str]:
    if key == "identity_embedding":
        return "generator", key
    part, name = key.split(".", 1)
    if part != "generator":
        return "embedder", key
    # Their decoder is one sequence: residual blocks, upsampling blocks, then AdaIN, ReLU and the last convolution.
    blocks = _RESIDUAL_BLOCKS + (architecture.image_size // 4).bit_length() - 1
    name = re.sub(r"^tail_conv\.", f"decoder_blocks.{blocks + 2}.", name)
    if found := re.match(r"blocks\.(\d+)\.conv([12])\.", name):
        # In a block: AdaIN (its three modules), [up], convolution, and the same again.
        number, which = int(found[1]), int(found[2])
        index = (3, 7)[which - 1] + (number >= _RESIDUAL_BLOCKS)
        name = f"decoder_blocks.{number}.block.{index}.{name[found.end() :]}"
    return "generator", _rename(name, (*_GENERATOR, *_SPECTRAL_NORM))


def _rename(key: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
