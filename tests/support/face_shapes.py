"""A face model whose mesh can be drawn by hand: a curved disc with eyes and a mouth, and photos of it."""

import numpy as np
import torch

from reenact.models.family import References
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.face_model import HEAD
from reenact.models.warping.mesh import CHIN, EYES, FOREHEAD, INNER_LIPS, POINTS
from reenact.models.warping.reenactor import WarpingReenactor

NARROW = WarpingArchitecture(
    image_size=64, working_size=32, pose_dim=8, blendshapes=4, shapes=2, widths=(8, 8, 8, 16), waves=6
)


def mesh() -> np.ndarray:
    """A mesh of POINTS, canonical: a cap of an ellipsoid, symmetric, its middle nearest to the camera."""
    random = np.random.default_rng(0)
    angle, radius = random.uniform(-np.pi / 2, np.pi / 2, POINTS // 2), np.sqrt(random.uniform(0, 1, POINTS // 2))
    half = np.column_stack([radius * np.cos(angle) * 0.2, radius * np.sin(angle) * 0.28])
    points = np.concatenate([half, half * [-1, 1]])
    points[FOREHEAD], points[CHIN] = (0, -0.28), (0, 0.28)
    for outline, middle, size in ((INNER_LIPS, (0, 0.14), (0.07, 0.012)), *_eyes()):
        turn = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
        points[list(outline)] = np.array(middle) + np.column_stack([np.cos(turn), np.sin(turn)]) * size
    depth = 0.25 * ((points[:, 0] / 0.2) ** 2 + (points[:, 1] / 0.28) ** 2)
    points = np.column_stack([points, depth])
    return points - points.mean(0)


def _eyes():
    return [(outline, (side * 0.08, -0.08), (0.035, 0.015)) for outline, side in zip(EYES, (-1, 1), strict=True)]


def head(place=(0.5, 0.5, 0.0), angle=0.0, size=1.0) -> torch.Tensor:
    """Where a head is, turned about its vertical axis by `angle` (radians): HEAD."""
    turn = [np.cos(angle), 0, -np.sin(angle), 0, 1, 0]
    numbers = torch.tensor([*turn, *place, np.log(size)], dtype=torch.float32)
    assert len(numbers) == HEAD
    return numbers


def photo(side=64) -> np.ndarray:
    """A picture in which every place has a colour of its own, and a matte: an ellipse. uint8 side x side x 4."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    matte = ((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.4) ** 2 < 1
    return np.rint(255 * np.dstack([0.2 + 0.6 * x, 0.2 + 0.6 * y, 0.5 + 0 * x, matte])).astype(np.uint8)


def narrow_model(architecture: WarpingArchitecture = NARROW) -> WarpingReenactor:
    """A meta-model with random weights, whose face model is the mesh above."""
    torch.manual_seed(0)
    net = WarpingReenactor(architecture).eval()
    net.face.mean.copy_(torch.from_numpy(mesh()))
    net.face.basis[0, list(INNER_LIPS), 1] = 0.02
    for values in (net.face.wave_directions, net.face.wave_phases):
        values.copy_(torch.randn(values.shape))
    net.face.readout.copy_(0.01 * torch.randn(net.face.readout.shape))
    net.face.readout[-1, -HEAD:] = head()
    return net


def narrow_avatar(photos: int = 2) -> WarpingReenactor:
    """An avatar of the person in `photo`, with the weights of `narrow_model`."""
    middle = torch.from_numpy(mesh() + np.array([0.5, 0.5, 0])).float()
    references = References(
        photos=torch.from_numpy(photo()).expand(photos, -1, -1, -1).clone(),
        meshes=middle.expand(photos, -1, -1).clone(),
        neutral=torch.from_numpy(mesh()).float(),
        head_offset=torch.zeros(HEAD),
    )
    net = WarpingReenactor(NARROW, references)
    net.load_state_dict(narrow_model().state_dict(), strict=False)
    return net.eval()
