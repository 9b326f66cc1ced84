"""Weights of mediapipe's mesh network (Google, Apache-2.0): `FaceEncoder`'s trunk begins with them, and `MeshNetwork`
has all of them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reenact.runtime.errors import UserError

MESH_NETWORK = "face_landmarks_detector.tflite"
"""Name of the mesh's network in the bundle."""


@torch.no_grad()
def fill_trunk(trunk: nn.Sequential, bundle: Path, mesh: nn.Linear | None = None) -> None:
    """Copy the weights of the mesh's network.

    Args:
        trunk: of a `FaceEncoder` or a `MeshNetwork`, changed in place.
        bundle: face_landmarker_v2.task, a ZIP of networks (FACE_LANDMARKER of `reenact.settings.fetch`).
        mesh: the last layer of a `MeshNetwork`, likewise.

    Raises:
        UserError: it cannot be read, or its network is another one.
    """
    layers: list[nn.Module] = [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d | nn.PReLU)]
    try:
        with zipfile.ZipFile(bundle) as archive:
            weights = _layers(archive.read(MESH_NETWORK))
        # Behind the trunk two layers say whether there is a face; the mesh comes last.
        pairs = list(zip(layers, weights[: len(layers)], strict=True))
        pairs += [(mesh, weights[-1])] if mesh is not None else []
        for layer, values in pairs:
            for ours, theirs in zip(layer.parameters(), values, strict=True):
                ours.copy_(theirs.reshape(ours.shape))
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        raise UserError(
            f"{bundle}: holds no {MESH_NETWORK} of the layers of FaceEncoder ({error}); the rule `fetch` gets the "
            "bundle of mediapipe's face landmarker that does"
        ) from None


def _layers(network: bytes) -> list[list[Tensor]]:
    """Weights of a TensorFlow Lite network's convolutions and PReLUs, in their order, in torch's order of axes."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = (model := schema.ModelT.InitFromPackedBuf(network, 0)).subgraphs
    kinds, codes = schema.BuiltinOperator, [code.builtinCode for code in model.operatorCodes]
    # Weights are stored as float16: each has an operator that makes float32 of it.
    stored = {op.outputs[0]: op.inputs[0] for op in graph.operators if codes[op.opcodeIndex] == kinds.DEQUANTIZE}

    def values(number: int) -> Tensor:
        """The weights in a tensor of the graph, by its number."""
        tensor: Any = graph.tensors[stored.get(number, number)]
        dtype = np.float16 if tensor.type == schema.TensorType.FLOAT16 else np.float32
        data = np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype)
        return torch.from_numpy(data.astype(np.float32).reshape(tensor.shape))

    # Outputs, height, width, inputs; of a depthwise one, which has an axis of 1 in front, the outputs come last.
    axes = {kinds.CONV_2D: (0, 3, 1, 2), kinds.DEPTHWISE_CONV_2D: (3, 0, 1, 2), kinds.PRELU: (0, 1, 2)}
    found = []
    for operator in graph.operators:
        if (kind := codes[operator.opcodeIndex]) in axes:
            weight, *bias = operator.inputs[1:]
            found.append([values(weight).permute(axes[kind]), *map(values, bias)])
    return found
