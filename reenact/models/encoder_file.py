"""The file of a pretrained pose encoder: its weights, and how to read from a descriptor what a face does."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from reenact.models.face_encoder import FaceEncoder
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

FORMAT = "reenact-pose-encoder-1"


class PretrainedEncoder(NamedTuple):
    """What such a file holds.

    Attributes:
        encoder: in evaluation mode.
        readout: B x pose_dim -> B x measures, in the measures' own units.
        metadata: plain JSON: measures (names, in the readout's order), and where the encoder comes from.
    """

    encoder: FaceEncoder
    readout: nn.Linear
    metadata: dict[str, Any]


def save_encoder(path: Path, pretrained: PretrainedEncoder) -> None:
    """Write one, in float32: half precision moves a descriptor by a hundredth of its spread."""
    parts = {"encoder": pretrained.encoder, "readout": pretrained.readout}
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata={"reenact": json.dumps({"format": FORMAT, **pretrained.metadata})})
        temporary.chmod(mode)  # safetensors makes files that nobody else can read


def load_encoder(path: Path) -> PretrainedEncoder:
    """Read one.

    Raises:
        UserError: no such file, damaged, or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("reenact", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a readable file of a pose encoder ({error})") from None
    if metadata.pop("format", None) != FORMAT:
        raise UserError(f"{path}: not a pose encoder of stage pretrain; run the stage, or give the file that it wrote")
    measures, outputs = tensors["readout.weight"].shape
    encoder, readout = FaceEncoder(outputs), nn.Linear(outputs, measures)
    for name, part in (("encoder", encoder), ("readout", readout)):
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        try:
            part.load_state_dict(own)
        except RuntimeError as error:
            raise UserError(f"{path}: weights do not fit the network ({error}); it is of another version") from None
    return PretrainedEncoder(encoder.eval(), readout, metadata)
