"""A model as one ONNX graph, frames in and pictures out, for runtimes without torch."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reenact.models.model_file import load_model
from reenact.models.reenactor import Reenactor
from reenact.models.spectral_norm import fold_spectral_norms
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

TOLERANCE = 1e-3
"""Largest difference to PyTorch that is let pass, of values in [0, 1]."""

_CHECKED_BATCHES = (1, 3)


class DrivingGraph(nn.Module):
    """Pose encoder and generator as one function of frames (and of identities, for a meta-model)."""

    def __init__(self, reenactor: Reenactor) -> None:
        super().__init__()
        self.pose_encoder = reenactor.pose_encoder
        self.generator = reenactor.generator
        self.identity_embedding = reenactor.identity_embedding
        self.architecture = reenactor.architecture

    def forward(self, frames: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames B x 3 x S x S, identity B x I -> RGB B x 3 x S x S times matte, matte B x 1 x S x S; in [0, 1]."""
        pose = self.pose_encoder(frames)
        own = self.identity_embedding
        if identity is None and own is not None:
            identity = own.expand(pose.shape[0], -1)
        rgb, matte = self.generator(identity, pose)
        return rgb.clamp(0, 1), matte


def export_onnx(*, model: Path, onnx: Path) -> float:
    """Write a model's pose encoder and generator as one ONNX graph with a dynamic batch, and check it.

    Inputs: `frames` B x 3 x S x S, float32 RGB in [0, 1], and, for a meta-model, `identity` B x I. Outputs: `rgb`
    B x 3 x S x S, multiplied by the matte, and `matte` B x 1 x S x S, both in [0, 1]. The file's metadata has
    `image_size`, `personal` and `reenact`, the model's own metadata (JSON).

    Args:
        model: an avatar or a meta-model (.safetensors).
        onnx: file to write.

    Returns:
        The largest absolute difference between onnxruntime and PyTorch on trial frames.

    Raises:
        UserError: the packages for ONNX are missing, `model` is not one, or the graph computes something else; no file
            is written then.
    """
    _require_packages()
    reenactor, metadata, _ = load_model(model)
    fold_spectral_norms(reenactor.eval().requires_grad_(False))
    graph = DrivingGraph(reenactor).eval()
    with atomic_write(onnx) as temporary:
        program = _trace(graph)
        program.model.producer_name = "reenact"
        program.model.metadata_props.update(
            image_size=str(reenactor.architecture.image_size),
            personal=str(reenactor.identity_embedding is not None).lower(),
            reenact=json.dumps(metadata),
        )
        program.save(temporary)
        difference = _largest_difference(graph, temporary)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{onnx}: not written: onnxruntime differs from PyTorch by {difference:.2g} (allowed: {TOLERANCE:g})"
            )
    print(
        f"onnx {onnx}: {onnx.stat().st_size / 1e6:.1f} MB, differs from PyTorch by at most {difference:.1e}", flush=True
    )
    return difference


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"export to ONNX needs the package {error.name}; install it with pip install 'reenact[onnx]'"
        ) from None


def _inputs(graph: DrivingGraph, batch: int) -> tuple[Tensor, ...]:
    """Trial inputs: noise at several scales, so that no batch norm sees a flat picture."""
    size = graph.architecture.image_size
    random = torch.Generator().manual_seed(batch)
    frames = torch.zeros(batch, 3, size, size)
    for side in (4, 16, size):
        part = torch.rand(batch, 3, side, side, generator=random)
        frames += nn.functional.interpolate(part, (size, size), mode="bilinear") / 3
    if graph.identity_embedding is not None:
        return (frames,)
    return frames, torch.randn(batch, graph.architecture.identity_dim, generator=random)


def _trace(graph: DrivingGraph) -> Any:
    inputs = _inputs(graph, 2)
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        # The exporter warns about deprecations of its own.
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            graph,
            inputs,
            dynamo=True,
            verbose=False,
            external_data=False,
            optimize=True,
            input_names=["frames", "identity"][: len(inputs)],
            output_names=["rgb", "matte"],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
        )


def _largest_difference(graph: DrivingGraph, path: Path) -> float:
    """Between onnxruntime and PyTorch, at batch sizes other than the traced one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    differences = []
    for batch in _CHECKED_BATCHES:
        inputs = _inputs(graph, batch)
        named = {described.name: value.numpy() for described, value in zip(session.get_inputs(), inputs, strict=True)}
        with torch.no_grad():
            expected = graph(*inputs)
        found = session.run(["rgb", "matte"], named)
        differences += [float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True)]
    return max(differences)
