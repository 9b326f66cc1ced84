"""A warping model that can be trained in tests: it finds nearly the same face in every picture."""

from pathlib import Path

import torch
from face_shapes import NARROW, mesh, narrow_model

from reenact.models.model_file import save_model
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.reenactor import WarpingReenactor
from reenact.models.warping.references import CONTEXT


@torch.no_grad()
def seeing_model(architecture: WarpingArchitecture = NARROW) -> WarpingReenactor:
    """`narrow_model` with a mesh network that finds the mesh in the middle of a crop, with small differences."""
    model = narrow_model(architecture)
    height = (mesh()[:, 1].max() - mesh()[:, 1].min()).item()
    seen = torch.from_numpy(mesh()).float() / (CONTEXT * height) + torch.tensor([0.5, 0.5, 0])
    model.mesh_network.mesh.weight.mul_(0.1)
    model.mesh_network.mesh.bias.copy_(model.architecture.pose_size * seen.flatten())
    return model


def write_seeing_model(folder: Path) -> Path:
    """It in a file."""
    save_model(folder / "start.safetensors", seeing_model(), {})
    return folder / "start.safetensors"
