"""Sizes of a warping model: what has to be known to build it again from a model file."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from reenact.models.face_encoder import SIZE
from reenact.runtime.errors import UserError


@dataclass(frozen=True)
class WarpingArchitecture:
    """Sizes of the networks of a warping model.

    Attributes:
        image_size: side of the pictures that it makes, px; photos are moved at this size.
        working_size: side at which it is decided what is taken from photos, and the rest is generated, px.
        pose_dim: length of the pose descriptor.
        blendshapes: of the expression, numbers that have a name.
        shapes: of the expression, directions in which a face's mesh moves.
        widths: channels of the refiner at 1/2, 1/4, 1/8 and 1/16 of the working size.
        mirrored: whether few photos are shown beside their mirror images, which the refiner knows as such.
        waves: of the descriptor, by which the face model reads it (`FaceModel`).
    """

    image_size: int = 256
    working_size: int = 128
    pose_dim: int = 64
    blendshapes: int = 52
    shapes: int = 32
    widths: tuple[int, int, int, int] = (40, 80, 128, 160)
    mirrored: bool = True
    waves: int = 1000

    @property
    def pose_size(self) -> int:
        """Side of the crops that the pose descriptor looks at, px."""
        return SIZE

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`."""
        return {"family": "warping", **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any], source: str) -> "WarpingArchitecture":
        """Read what `to_json` wrote.

        Raises:
            UserError: unknown or missing sizes, as in a file of another version; names `source`.
        """
        # Files from before mirror images were shown, or waves read, say nothing of them.
        given = {"mirrored": False, "waves": 0} | {name: value for name, value in values.items() if name != "family"}
        known = {field.name for field in fields(cls)}
        if set(given) != known:
            raise UserError(f"{source}: unknown architecture (differs in: {', '.join(sorted(set(given) ^ known))})")
        return cls(**{**given, "widths": tuple(given["widths"])})
