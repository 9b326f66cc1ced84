"""Reading a checkpoint of the authors' code: what is in it, and whether it is one at all."""

import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reenact.models.architecture import Architecture
from reenact.published import unpickling
from reenact.runtime.errors import UserError

State = dict[str, Tensor]

NETWORKS = ("embedder", "generator", "discriminator")

# The arguments that name or size a network and have no counterpart in `Architecture`: the only value that we build.
_FIXED = {
    "embedder": "unsupervised_pose_separate_embResNeXt_segmentation",
    "generator": "vector_pose_unsupervised_segmentation_noBottleneck",
    "discriminator": "no_landmarks",
    "in_channels": 3,
    "out_channels": 3,
    "gen_constant_input_size": 4,
    "gen_num_residual_blocks": 2,
    "gen_padding": "zero",
    "dis_padding": "zero",
    "norm_layer": "in",
}

# What a damaged pickle, or a file that is none, can make torch and pickle raise.
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    OSError,
    AttributeError,
    TypeError,
    KeyError,
    ValueError,
    AssertionError,
    IndexError,
    ImportError,
    OverflowError,
)


@dataclass(frozen=True)
class PublishedCheckpoint:
    """What a checkpoint holds, in the authors' names.

    Attributes:
        path: the file.
        embedder, generator, discriminator: raw weights.
        averages: moving averages of embedder and generator; empty where the run kept none.
        optimizers: state dicts of the optimizers of generator and encoders, and of the discriminator; those that are
            there.
        arguments: the command line that it was trained with; paths as text.
        others: top-level keys that we do not know.
    """

    path: Path
    embedder: State
    generator: State
    discriminator: State
    averages: dict[str, State]
    optimizers: dict[str, dict[str, Any]]
    arguments: dict[str, Any]
    others: tuple[str, ...] = field(default=())

    @property
    def iteration(self) -> int:
        """Training steps made."""
        return int(self.arguments.get("iteration", 0))

    @property
    def form(self) -> str:
        """'meta' or 'finetuned'."""
        return "finetuned" if "identity_embedding" in self.generator else "meta"


def read_checkpoint(path: Path) -> PublishedCheckpoint:
    """Read a meta or fine-tuned checkpoint (.pth), with a restricted unpickler.

    Raises:
        UserError: no such file, cut short or damaged, not a checkpoint of the authors' code, or a pickle that asks for
            something outside of the list; one line.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: not a checkpoint of the published code (holds {type(content).__name__}, not a dictionary)"
        )
    missing = [key for key in (*NETWORKS, "args") if key not in content]
    if missing:
        raise UserError(
            f"{path}: not a checkpoint of the published code ({', '.join(missing)} missing; found: {_names(content)})"
        )
    if not isinstance(content["args"], unpickling.Arguments):
        raise UserError(
            f"{path}: args: {type(content['args']).__name__}; expected the command-line arguments of the published code"
        )
    averages = content.get("running_averages") or {}
    if not isinstance(averages, dict) or (averages and not {"embedder", "generator"} <= set(averages)):
        raise UserError(f"{path}: running_averages: expected embedder and generator")
    known = {*NETWORKS, "args", "running_averages", "optimizer_G", "optimizer_D"}
    return PublishedCheckpoint(
        path=path,
        **{name: _state(content[name], name, path) for name in NETWORKS},
        averages={name: _state(averages[name], f"running_averages.{name}", path) for name in NETWORKS[:2] if averages},
        optimizers={key: content[key] for key in ("optimizer_G", "optimizer_D") if isinstance(content.get(key), dict)},
        arguments={str(key): _plain(value) for key, value in sorted(vars(content["args"]).items())},
        others=tuple(str(key) for key in content if key not in known),
    )


def published_architecture(arguments: dict[str, Any], source: Path) -> Architecture:
    """The sizes that a checkpoint's arguments state; what they leave out is as published.

    Raises:
        UserError: other networks than ours, or sizes that ours cannot have; names the argument.
    """
    for name, expected in _FIXED.items():
        if arguments.get(name, expected) != expected:
            raise UserError(
                f"{source}: {name} {arguments[name]!r}: unknown architecture; only {expected!r} can be imported"
            )
    published = Architecture()
    sizes = {
        "image_size": published.image_size,
        "embed_channels": published.identity_dim,
        "pose_embedding_size": published.pose_dim,
        "num_channels": published.generator_channels,
        "max_num_channels": published.max_channels,
        "dis_num_blocks": 7,
    }
    for name, size in sizes.items():
        sizes[name] = arguments.get(name, size)
        if not isinstance(sizes[name], int) or not 1 <= sizes[name] <= 4096:
            raise UserError(f"{source}: {name} {sizes[name]!r}: unknown architecture; expected a size such as {size}")
    side, blocks = sizes["image_size"], sizes["dis_num_blocks"]
    if side < 16 or side & (side - 1):
        raise UserError(f"{source}: image_size {side}: unknown architecture; expected a power of two, 16 or more")
    if blocks < 3:
        raise UserError(f"{source}: dis_num_blocks {blocks}: unknown architecture; expected 3 or more")
    return Architecture(
        image_size=side,
        identity_dim=sizes["embed_channels"],
        pose_dim=sizes["pose_embedding_size"],
        generator_channels=sizes["num_channels"],
        max_channels=sizes["max_num_channels"],
        discriminator_channels=sizes["num_channels"],
        discriminator_blocks=blocks - 2,
    )


def _load(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: does not exist")
    hint = "expected a .pth file of the published code; it may be cut short: compare its size and download it again"
    if path.suffix == ".safetensors":
        raise UserError(f"{path}: a safetensors file is no checkpoint of the published code; give its .pth file")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                    raise UserError(f"{path}: a TorchScript program, not a checkpoint of the published code")
                if damaged := archive.testzip():  # torch reads weights without looking at their checksums
                    raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        return torch.load(path, map_location="cpu", pickle_module=unpickling)
    except unpickling.ForbiddenGlobal as error:
        raise UserError(
            f"{path}: its pickle asks for {error}, which no checkpoint of the published code needs; "
            "not read, as it could run a program of its own "
            f"(allowed: {', '.join('.'.join(names) for names in unpickling.ALLOWED)})"
        ) from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}: {reason}); {hint}") from None


def _state(value: Any, name: str, path: Path) -> State:
    good = isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    if not good:
        raise UserError(f"{path}: {name}: expected a network's weights, found {type(value).__name__}")
    return dict(value)


def _plain(value: Any) -> Any:
    """An argument as plain JSON."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _names(content: dict[Any, Any]) -> str:
    names = [str(key) for key in content]
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") or "nothing"
