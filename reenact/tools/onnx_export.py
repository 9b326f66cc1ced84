"""A model as one ONNX graph, frames in and pictures out, for runtimes without torch."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reenact.models.family import Model
from reenact.models.model_file import constant, load_model
from reenact.models.reenactor import Reenactor
from reenact.models.spectral_norm import fold_spectral_norms
from reenact.runtime.errors import UserError
from reenact.runtime.files import atomic_write

TOLERANCE = 1e-3
"""Largest difference to PyTorch that is let pass, of values in [0, 1]."""

_CHECKED_BATCHES = (1, 3)


class DrivingGraph(nn.Module):
    """Pose encoder and generator as one function of frames (and of identities, for a meta-model)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.pose_encoder, self.show = model, model.pose_encoder, model.traceable()

    def forward(self, frames: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames B x 3 x pose_size x pose_size, identity B x I -> RGB B x 3 x S x S times matte, matte B x 1 x S x S;
        in [0, 1]."""
        given = () if identity is None else (identity,)
        return self.show(self.pose_encoder(frames), *given)


def export_onnx(*, model: Path, onnx: Path) -> float:
    """Write a model's pose encoder and generator as one ONNX graph with a dynamic batch, and check it.

    Inputs: `frames` B x 3 x P x P, float32 RGB in [0, 1], and, for a meta-model, `identity` B x I. Outputs: `rgb`
    B x 3 x S x S, multiplied by the matte, and `matte` B x 1 x S x S, both in [0, 1]. The file's metadata has
    `image_size` (S), `pose_size` (P), `personal` and `reenact`, the model's own metadata (JSON).

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
    if not reenactor.personal:
        constant(reenactor, model, "a graph of a meta-model")
    fold_spectral_norms(reenactor.eval().requires_grad_(False))
    graph = DrivingGraph(reenactor).eval()
    with atomic_write(onnx) as temporary:
        program = _trace(graph)
        program.model.producer_name = "reenact"
        program.model.metadata_props.update(
            image_size=str(reenactor.architecture.image_size),
            pose_size=str(reenactor.architecture.pose_size),
            personal=str(reenactor.personal).lower(),
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
    size = graph.model.architecture.pose_size
    random = torch.Generator().manual_seed(batch)
    frames = torch.zeros(batch, 3, size, size)
    for side in (4, 16, size):
        part = torch.rand(batch, 3, side, side, generator=random)
        frames += nn.functional.interpolate(part, (size, size), mode="bilinear") / 3
    if graph.model.personal:
        return (frames,)
    return frames, torch.randn(batch, _identity_dim(graph.model), generator=random)


def _identity_dim(model: Model) -> int:
    """Length of a meta-model's identity embedding."""
    assert isinstance(model, Reenactor)
    return model.architecture.identity_dim


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
