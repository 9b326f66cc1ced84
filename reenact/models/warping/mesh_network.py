"""The mesh network of mediapipe's face landmarker (Google, Apache-2.0), in torch: the points of a face in space.

It finds the meshes of a person's photos; being part of the model, it does so wherever the model runs.
"""

from torch import Tensor, nn

from reenact.models.face_encoder import FEATURES, SIZE, FaceEncoder
from reenact.models.warping.mesh import POINTS


class MeshNetwork(nn.Module):
    """Pictures of upright faces, whose boxes are 1 / 1.5 as wide as the picture, -> their meshes."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = FaceEncoder(1).trunk
        self.mesh = nn.Linear(FEATURES, 3 * POINTS)

    def forward(self, pictures: Tensor) -> Tensor:
        """B x 3 x SIZE x SIZE in [0, 1] -> B x POINTS x 3, fractions of the side; z has the unit of x and y."""
        return self.mesh(self.trunk(pictures)).unflatten(1, (POINTS, 3)) / SIZE
