"""The model file: weights and plain-JSON metadata in one safetensors file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reenact.models.architecture import Architecture
from reenact.models.discriminator import Discriminator
from reenact.models.family import Model
from reenact.models.pose_edit import Control
from reenact.models.reenactor import Reenactor
from reenact.models.spectral_norm import fold_spectral_norms, folded_state
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.reenactor import WarpingReenactor, blank_references
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

FORMAT = "reenact-model-1"


def save_model(
    path: Path,
    reenactor: Model,
    metadata: dict[str, Any],
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
        metadata: plain JSON about where the model comes from.
        discriminator: kept only in meta-models, which are trained further.
        half: store weights as float16, for half of the file; what is loaded is float32 again. Buffers (statistics, a
            face model, photos) stay exact.
    """
    state = folded_state(reenactor) if discriminator is None else reenactor.state_dict()
    exact = {f"reenactor.{key}" for key, _ in reenactor.named_buffers()}
    tensors = {f"reenactor.{key}": value for key, value in state.items()}
    for key, value in discriminator.state_dict().items() if discriminator else ():
        if not key.startswith("labels."):
            tensors[f"discriminator.{key}"] = value
    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    if half:
        tensors = {
            key: value.half() if value.is_floating_point() and key not in exact else value
            for key, value in tensors.items()
        }
    stored = {"format": FORMAT, "architecture": reenactor.architecture.to_json(), **metadata}
    if reenactor.controls:
        stored["controls"] = [control.to_json() for control in reenactor.controls.values()]
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata={"reenact": json.dumps(stored)})
        temporary.chmod(mode)  # safetensors makes files that nobody else can read


class LoadedModel(NamedTuple):
    """What a model file holds.

    Attributes:
        reenactor: the networks; those of a file without discriminator have plain weights in place of spectral norms.
        metadata: plain JSON about where the model comes from.
        discriminator: state dict of its discriminator, {} where it has none.
    """

    reenactor: Model
    metadata: dict[str, Any]
    discriminator: dict[str, Tensor]


def load_model(path: Path) -> LoadedModel:
    """Read a model file.

    Raises:
        UserError: no such file, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("reenact", "{}"))
            tensors = {key: _single(file.get_tensor(key)) for key in file.keys()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a readable model file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not a reenact model (format {metadata.get('format')!r}, expected {FORMAT!r})")
    del metadata["format"]
    weights = _part(tensors, "reenactor")
    reenactor = _build(metadata.pop("architecture"), weights, path)
    measured = [Control.from_json(values, str(path)) for values in metadata.pop("controls", [])]
    reenactor.controls = {control.name: control for control in measured}
    try:
        reenactor.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise UserError(f"{path}: weights do not fit its own architecture ({error})") from None
    return LoadedModel(reenactor, metadata, _part(tensors, "discriminator"))


def _build(architecture: dict[str, Any], weights: dict[str, Tensor], path: Path) -> Model:
    """A model of the family and the sizes that a file names, for its weights."""
    if architecture.get("family") == WarpingReenactor.family:
        return WarpingReenactor(WarpingArchitecture.from_json(architecture, str(path)), blank_references(weights))
    reenactor = Reenactor(Architecture.from_json(architecture, str(path)), "identity_embedding" in weights)
    if not any(".parametrizations." in key for key in weights):
        fold_spectral_norms(reenactor)
    return reenactor


def constant(model: Model, path: Path, purpose: str) -> Reenactor:
    """A model of the constant family as what it is.

    Args:
        model: of the file `path`.
        path: for the message.
        purpose: what needs that family, such as "a morph".

    Raises:
        UserError: it is of another family.
    """
    if not isinstance(model, Reenactor):
        raise UserError(f"{path}: is a model of the {model.family} family; {purpose} needs one of the constant family")
    return model


def _single(tensor: Tensor) -> Tensor:
    """float16 as float32, everything else as it is."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
