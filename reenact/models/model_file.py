"""The networks of one model together, and the model file: weights and plain-JSON facts in one safetensors file."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from reenact.models.architecture import Architecture
from reenact.models.discriminator import Discriminator
from reenact.models.generator import Generator
from reenact.models.mobilenet import MobileNetV2
from reenact.models.resnext import ResNeXt
from reenact.runtime.devices import pick_device as pick_device  # also wanted from here by the stages
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

FORMAT = "reenact-model-1"


class Reenactor(nn.Module):
    """Encoders and generator. A personal one has an identity embedding of its own in place of the encoder's.

    Args:
        architecture: sizes.
        personal: whether it has `identity_embedding`, 1 x identity_dim.
    """

    def __init__(self, architecture: Architecture, personal: bool = False) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.identity_encoder = ResNeXt(a.identity_dim, a.identity_layers, a.identity_width, a.identity_groups)
        self.pose_encoder = MobileNetV2(a.pose_dim, a.pose_width, a.pose_dropout)
        self.generator = Generator(a.image_size, a.identity_dim, a.pose_dim, a.generator_channels, a.max_channels)
        self.identity_embedding = nn.Parameter(torch.zeros(1, a.identity_dim)) if personal else None

    def identity(self, frames: Tensor) -> Tensor:
        """B x K x 3 x H x W, K frames of each person -> B x I, the mean of their embeddings."""
        batch, count = frames.shape[:2]
        return self.identity_encoder(frames.flatten(0, 1)).view(batch, count, -1).mean(1)


def build_discriminator(architecture: Architecture, labels: int) -> Discriminator:
    """The discriminator that goes with `architecture`."""
    return Discriminator(
        labels, architecture.discriminator_channels, architecture.discriminator_blocks, architecture.identity_dim
    )


def save_model(
    path: Path,
    reenactor: Reenactor,
    facts: dict[str, Any],
    discriminator: Discriminator | None = None,
    half: bool = False,
) -> None:
    """Write a model file.

    Without a discriminator it is for driving alone: spectral norms are folded into plain weights. With one it can be
    trained further, and keeps the norms' own state, but not the discriminator's label rows: they belong to the clips of
    that training, and resemble their people's identity embeddings. Checkpoints keep them.

    Args:
        path: of the file (.safetensors).
        reenactor: usually the moving average.
        facts: plain JSON about where the model comes from.
        discriminator: kept only in meta-models, which are trained further.
        half: store float16, for half of the file; what is loaded is float32 again.
    """
    state = _folded_state(reenactor) if discriminator is None else reenactor.state_dict()
    tensors = {f"reenactor.{key}": value for key, value in state.items()}
    for key, value in discriminator.state_dict().items() if discriminator else ():
        if not key.startswith("labels."):
            tensors[f"discriminator.{key}"] = value
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    about = {"format": FORMAT, "architecture": reenactor.architecture.to_json(), **facts}
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata={"reenact": json.dumps(about)})
        temporary.chmod(mode)  # safetensors makes files that nobody else can read


def load_model(path: Path) -> tuple[Reenactor, dict[str, Any], dict[str, Tensor]]:
    """Read a model file: the networks, its facts, and the discriminator's weights ({} where it has none).

    The networks of a file without discriminator have plain weights in place of spectral norms.

    Raises:
        UserError: no such file, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("reenact", "{}"))
            tensors = {key: _single(file.get_tensor(key)) for key in file.keys()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a readable model file ({error})") from None
    if about.get("format") != FORMAT:
        raise UserError(f"{path}: not a reenact model (format {about.get('format')!r}, expected {FORMAT!r})")
    del about["format"]
    architecture = Architecture.from_json(about.pop("architecture"), str(path))
    weights = _part(tensors, "reenactor")
    reenactor = Reenactor(architecture, "identity_embedding" in weights)
    if not any(".parametrizations." in key for key in weights):
        fold_spectral_norms(reenactor)
    try:
        reenactor.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise UserError(f"{path}: weights do not fit its own architecture ({error})") from None
    return reenactor, about, _part(tensors, "discriminator")


def _single(tensor: Tensor) -> Tensor:
    """float16 as float32, everything else as it is."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


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


def _folded_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict that `module` would have after `fold_spectral_norms`."""
    state = {key: value for key, value in module.state_dict().items() if ".parametrizations." not in f".{key}"}
    for prefix, child in module.named_modules():
        state |= {f"{prefix}.{name}": plain for name, plain in _plain_weights(child).items()}
    return state
