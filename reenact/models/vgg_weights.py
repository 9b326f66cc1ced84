"""Weights of the perceptual networks: the authors' two files, torch hub's, or the embedded random ones.

Torch hub's file is recognised by its SHA-256 and not by its name: the same names of layers hold weights that want their
input in different scales. Any other VGG-19 is fed as Caffe's, whose conversion the authors use.
"""

import pickle
from pathlib import Path

import pooch
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from reenact.models.vgg import CAFFE, PUBLISHED, RANDOM, TORCHVISION, VGGFACE, InputScale, PerceptualNetwork
from reenact.runtime.downloads import check_sha256, download
from reenact.runtime.errors import UserError

HUB = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
# PyTorch publishes only the first eight digits, in the file's name. All of them are as several unrelated public
# projects pin them; were they wrong, the download would be refused.
HUB_SHA256 = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
SETTING = {"vgg19": "perceptual_weights", "vgg16": "face_perceptual_weights"}


def perceptual_network(
    weights: str | None, layout: str, *, width: float = 1.0, published: bool = False, seed: int = 0
) -> tuple[PerceptualNetwork, str]:
    """The network that setting `perceptual_weights` or `face_perceptual_weights` names, and in words which one it is.

    Args:
        weights: None = fixed random weights; 'torchvision' = torch hub's VGG-19, downloaded once and checked;
            else the path of a file (.pth, .pt or .safetensors).
        layout: vgg19, or vgg16 for faces.
        width: of the random network; files have full width.
        published: feed it as the authors do, whatever its weights were trained on.
        seed: of the random weights.

    Raises:
        UserError: no such file, damaged, not a VGG of this layout, or no download; names the setting and the value.
    """
    if weights is None:
        scale = PUBLISHED if published else RANDOM
        return PerceptualNetwork(width, seed, layout, scale), f"{layout} with fixed random weights, width {width:g}"
    path = _downloaded(layout) if weights == "torchvision" else Path(weights)
    tensors = _read(path, layout)
    name, trained_on = _identify(path, layout)
    network = PerceptualNetwork(1.0, seed, layout, PUBLISHED if published else trained_on)
    _fill(network, tensors, path, layout)
    return network, f"{name} ({path})"


def _downloaded(layout: str) -> Path:
    if layout != "vgg19":
        raise UserError(
            f"{SETTING[layout]}: 'torchvision' has no network of faces; give the path of vgg_face_weights.pth"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(HUB).name
    if path.exists():
        check_sha256(path, HUB_SHA256, f"{SETTING[layout]}: {path}")
        return path
    try:
        download(HUB, HUB_SHA256, path)
    except UserError as error:
        raise UserError(
            f"{SETTING[layout]}: {error}; or download it elsewhere and give its path, or null for the embedded random "
            "network"
        ) from None
    return path


def _read(path: Path, layout: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(
            f"{SETTING[layout]}: {str(path)!r} does not exist; null takes the embedded random network"
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{SETTING[layout]}: {path} is not a readable file of weights ({reason})") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"{SETTING[layout]}: {path} holds no state dict of tensors; save network.state_dict()")
    return tensors


def _identify(path: Path, layout: str) -> tuple[str, InputScale]:
    if layout == "vgg16":
        return "VGGFace", VGGFACE
    if pooch.file_hash(str(path), alg="sha256") == HUB_SHA256:
        return "torchvision's VGG-19", TORCHVISION
    return "VGG-19, fed as Caffe's", CAFFE


def _fill(network: PerceptualNetwork, tensors: dict[str, Tensor], path: Path, layout: str) -> None:
    """Copy weights in; layers are called features.N (torchvision), N (the authors' VGGFace) or convA_B (Caffe)."""
    prefixes = next((style for style in _names(network.layout) if f"{style[0]}.weight" in tensors), None)
    if prefixes is None:
        known = next(iter(tensors), "nothing")
        raise UserError(
            f"{SETTING[layout]}: {path} is not a VGG: it begins with {known!r}; "
            "known names are features.0.weight, 0.weight and conv1_1.weight"
        )
    for conv, prefix in zip(network.convs, prefixes, strict=True):
        for part, ours in (("weight", conv.weight), ("bias", conv.bias)):
            theirs = tensors.get(f"{prefix}.{part}")
            if theirs is None or theirs.shape != ours.shape:
                found = "is missing" if theirs is None else f"has shape {list(theirs.shape)}, not {list(ours.shape)}"
                raise UserError(
                    f"{SETTING[layout]}: {path} is not a {layout}: {prefix}.{part} {found}; "
                    f"VGG-19 belongs into {SETTING['vgg19']}, VGGFace (VGG-16) into {SETTING['vgg16']}"
                )
            ours.copy_(theirs)


def _names(layout: tuple[int, ...]) -> list[list[str]]:
    """Layer names of the 13 convolutions in each naming."""
    indices, caffe, index, block, number = [], [], 0, 1, 0
    for outputs in layout:
        if outputs:
            number += 1
            indices.append(index)
            caffe.append(f"conv{block}_{number}")
            index += 2
        else:
            index, block, number = index + 1, block + 1, 0
    return [[f"features.{index}" for index in indices], [str(index) for index in indices], caffe]
