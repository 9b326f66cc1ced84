"""The networks of one model together, and the model file: weights and plain-JSON facts in one safetensors file."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from reenact.errors import UserError
from reenact.files import written_whole
from reenact.images import resize_area, to_tensor, to_uint8
from reenact.networks.architecture import Architecture
from reenact.networks.discriminator import Discriminator
from reenact.networks.generator import Generator
from reenact.networks.mobilenet import MobileNetV2
from reenact.networks.resnext import ResNeXt

FORMAT = "reenact-model-1"


def pick_device(device: str, threads: int = 0) -> torch.device:
    """Where the networks run.

    Args:
        device: 'auto' = CUDA, Apple's MPS or the CPU, whichever is there; anything else as torch reads it.
        threads: CPU threads of this process; 0 leaves them as they are.
    """
    if threads:
        torch.set_num_threads(threads)
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


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


def save_model(path: Path, reenactor: Reenactor, facts: dict[str, Any], discriminator: Discriminator | None = None) -> None:
    """Write a model file.

    Args:
        path: of the file (.safetensors).
        reenactor: usually the moving average.
        facts: plain JSON about where the model comes from.
        discriminator: kept only in meta-models, which are trained further.
    """
    modules = {"reenactor": reenactor} | ({"discriminator": discriminator} if discriminator else {})
    tensors = {f"{n}.{k}": v.detach().cpu().contiguous() for n, m in modules.items() for k, v in m.state_dict().items()}
    about = {"format": FORMAT, "architecture": reenactor.architecture.to_json(), **facts}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={"reenact": json.dumps(about)})


def load_model(path: Path) -> tuple[Reenactor, dict[str, Any], dict[str, Tensor]]:
    """Read a model file: the networks, its facts, and the discriminator's weights ({} where it has none).

    Raises:
        UserError: no such file, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("reenact", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a readable model file ({error})") from None
    if about.get("format") != FORMAT:
        raise UserError(f"{path}: not a reenact model (format {about.get('format')!r}, expected {FORMAT!r})")
    del about["format"]
    reenactor = Reenactor(
        Architecture.from_json(about.pop("architecture"), str(path)), "reenactor.identity_embedding" in tensors
    )
    try:
        reenactor.load_state_dict(_part(tensors, "reenactor"))
    except RuntimeError as error:
        raise UserError(f"{path}: weights do not fit its own architecture ({error})") from None
    return reenactor, about, _part(tensors, "discriminator")


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def fold_spectral_norms(module: nn.Module) -> None:
    """Replace spectrally normalised weights by plain ones, so that driving does not pay for the norms. In place."""
    for child in list(module.modules()):
        for name in list(getattr(child, "parametrizations", {})):
            parametrize.remove_parametrizations(child, name, leave_parametrized=True)


class Avatar:
    """A model ready for driving: evaluation mode, spectral norms folded.

    Attributes:
        image_size: side of its images, px.
        settings: the facts stored in the model file.
    """

    def __init__(self, reenactor: Reenactor, settings: dict[str, Any], device: torch.device) -> None:
        self._reenactor = reenactor.to(device).eval().requires_grad_(False)
        fold_spectral_norms(self._reenactor)
        self._device = device
        self.settings = settings
        self.image_size = reenactor.architecture.image_size

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> "Avatar":
        """Open a model file; see `load_model` for errors."""
        reenactor, about, _ = load_model(Path(path))
        return cls(reenactor, about, pick_device(device))

    @torch.inference_mode()
    def identity_embedding(self, frames: Tensor) -> Tensor:
        """Frames B x 3 x H x W, RGB in [0, 1] -> B x I; average it over the frames of one person."""
        return self._reenactor.identity_encoder(frames.to(self._device))

    @torch.inference_mode()
    def pose_embedding(self, frames: Tensor) -> Tensor:
        """Frames B x 3 x H x W, RGB in [0, 1] -> pose descriptors B x P."""
        return self._reenactor.pose_encoder(frames.to(self._device))

    @torch.inference_mode()
    def render(self, pose: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pose descriptors B x P -> RGB B x 3 x H x W times the matte, matte B x 1 x H x W, both in [0, 1].

        Args:
            pose: from `pose_embedding`.
            identity: 1 x I or B x I; an avatar has its own, a meta-model needs it.

        Raises:
            UserError: a meta-model without `identity`.
        """
        identity = self._reenactor.identity_embedding if identity is None else identity
        if identity is None:
            raise UserError("a meta-model has no identity of its own; give render(pose, identity=...)")
        rgb, matte = self._reenactor.generator(identity.to(pose).expand(len(pose), -1), pose)
        return rgb.clamp(0, 1), matte

    def drive(self, frames: Iterable[np.ndarray], batch_size: int = 8) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Driver crops, uint8 S x S x 3 each -> one (RGB H x W x 3, matte H x W) a frame, uint8, in the same order."""
        source = iter(frames)
        while batch := list(islice(source, batch_size)):
            small = to_tensor(resize_area(np.stack(batch), self.image_size))
            rgb, matte = self.render(self.pose_embedding(small))
            yield from zip(to_uint8(rgb), to_uint8(matte))
