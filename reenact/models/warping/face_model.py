"""What moves a face: the mean mesh, how it moves, and what a pose descriptor says of it.

All of it is found by least squares over faces whose meshes are known (`reenact.training.warping.fit`).
Meshes are M x 3: x to the right and y down as fractions of the crop's side, z away from the camera in the same unit.
A canonical mesh is one without the head's rotation, size and place.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reenact.models.warping.mesh import MeanFace

HEAD = 10
"""Numbers that say where a head is: the first two columns of its rotation (6), its place (3), the log of its size."""


WAVE_WEIGHT = 3.0
"""Size of all waves together against one number of the descriptor: how freely read-outs bend."""


class FaceModel(nn.Module):
    """A linear model of faces, and read-outs of pose descriptors.

    Read-outs are linear in the descriptor and in waves of it, cosines in random directions: random Fourier features of
    a Gaussian kernel [Rahimi and Recht, NeurIPS 2007].

    Args:
        points: M, of a mesh.
        blendshapes: E, of an expression (ARKit's 52), whoever makes it.
        shapes: D, directions in which a canonical mesh moves.
        pose_dim: P, of a descriptor.
        waves: W, 0 for read-outs that are linear in the descriptor alone.

    Attributes:
        mean: M x 3, centred: the mean face, canonical.
        basis: D x M x 3, the directions, each as long as a standard deviation.
        blendshape_mean, blendshape_std: E, over the faces that it was fitted to.
        descriptor_mean, descriptor_std: P.
        wave_directions, wave_phases: P x W and W.
        readout: (P + W + 1) x (E + D + HEAD), from a normalised descriptor, its waves and a one.
    """

    mean: Tensor
    basis: Tensor
    blendshape_mean: Tensor
    blendshape_std: Tensor
    descriptor_mean: Tensor
    descriptor_std: Tensor
    wave_directions: Tensor
    wave_phases: Tensor
    readout: Tensor

    def __init__(self, points: int, blendshapes: int, shapes: int, pose_dim: int, waves: int = 0) -> None:
        super().__init__()
        self._known: tuple[Tensor, MeanFace] | None = None
        self._sizes = [blendshapes, shapes, HEAD]
        self.register_buffer("mean", torch.zeros(points, 3))
        self.register_buffer("basis", torch.zeros(shapes, points, 3))
        self.register_buffer("blendshape_mean", torch.zeros(blendshapes))
        self.register_buffer("blendshape_std", torch.ones(blendshapes))
        self.register_buffer("descriptor_mean", torch.zeros(pose_dim))
        self.register_buffer("descriptor_std", torch.ones(pose_dim))
        # Files from before there were waves have none of these.
        self.register_buffer("wave_directions", torch.zeros(pose_dim, waves), persistent=waves > 0)
        self.register_buffer("wave_phases", torch.zeros(waves), persistent=waves > 0)
        self.register_buffer("readout", torch.zeros(pose_dim + waves + 1, sum(self._sizes)))

    def mean_face(self) -> MeanFace:
        """The mean as numbers; as long as it stays the same, what follows from it is worked out once."""
        mean = self.mean.detach().cpu()
        if self._known is None or not torch.equal(self._known[0], mean):
            self._known = mean.clone(), MeanFace(mean.double().numpy())
        return self._known[1]

    def align(self, meshes: Tensor | np.ndarray) -> "Heads":
        """Where heads are, of meshes N x M x 3; see `align`."""
        return align(np.asarray(torch.as_tensor(meshes).cpu().double()), self.mean_face().points)

    def features(self, descriptors: Tensor) -> Tensor:
        """What is read: normalised descriptors and their waves, B x P -> B x (P + W)."""
        normed = (descriptors - self.descriptor_mean) / self.descriptor_std
        waves = torch.cos(normed @ self.wave_directions + self.wave_phases)
        return torch.cat([normed, WAVE_WEIGHT * (2 / max(1, waves.shape[1])) ** 0.5 * waves], 1)

    def read(self, descriptors: Tensor) -> "ReadPose":
        """What descriptors say: B x P -> a pose."""
        said = self.features(descriptors) @ self.readout[:-1] + self.readout[-1]
        blendshapes, shape, head = said.split(self._sizes, 1)
        normed_blendshapes = (blendshapes - self.blendshape_mean) / self.blendshape_std
        return ReadPose(normed_blendshapes.clamp(-4, 4), torch.einsum("bd,dmc->bmc", shape, self.basis), head)


@dataclass(frozen=True)
class ReadPose:
    """What descriptors say of faces.

    Attributes:
        blendshapes: B x E, 0 on average, in standard deviations.
        shape: B x M x 3, how the canonical mesh differs from the person's usual one.
        head: B x HEAD.
    """

    blendshapes: Tensor
    shape: Tensor
    head: Tensor


def rotation(head: Tensor) -> Tensor:
    """The rotation in `head`, made orthonormal: B x HEAD -> B x 3 x 3; canonical columns to the crop's axes."""
    first = nn.functional.normalize(head[:, :3], dim=1)
    second = head[:, 3:6] - first * (first * head[:, 3:6]).sum(1, keepdim=True)
    second = nn.functional.normalize(second, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], 2)


def place(points: Tensor, head: Tensor) -> Tensor:
    """Canonical points where the head is: B x N x 3 and B x HEAD -> B x N x 3 in the crop."""
    scale = head[:, 9:10].exp()[:, :, None]
    return scale * points @ rotation(head).transpose(1, 2) + head[:, None, 6:9]


@dataclass(frozen=True)
class Heads:
    """Rotation, place and size of N meshes against the mean mesh.

    Attributes:
        scale: N.
        rotation: N x 3 x 3.
        place: N x 3.
    """

    scale: np.ndarray
    rotation: np.ndarray
    place: np.ndarray

    def canonical(self, meshes: np.ndarray) -> np.ndarray:
        """Meshes N x M x 3 without them."""
        moved = meshes - self.place[:, None]
        return np.einsum("nji,nmj->nmi", self.rotation, moved) / self.scale[:, None, None]

    def numbers(self) -> np.ndarray:
        """As descriptors are read: N x HEAD."""
        columns = (self.rotation[:, :, 0], self.rotation[:, :, 1], self.place, np.log(self.scale)[:, None])
        return np.concatenate(columns, 1)


def align(meshes: np.ndarray, mean: np.ndarray) -> Heads:
    """The similarities that carry a centred mesh nearest to each of N meshes [Umeyama 1991].

    Args:
        meshes: N x M x 3.
        mean: M x 3.
    """
    middle = meshes.mean(1)
    covariance = np.einsum("nmi,mj->nij", meshes - middle[:, None], mean)
    u, s, v = np.linalg.svd(covariance)
    signs = np.ones((len(meshes), 3))
    signs[:, 2] = np.sign(np.linalg.det(u @ v))
    return Heads((s * signs).sum(1) / (mean**2).sum(), np.einsum("nij,nj,njk->nik", u, signs, v), middle)
