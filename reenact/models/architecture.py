"""Sizes of all networks of one model: what has to be known to build them again from a model file."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from reenact.runtime.errors import UserError


@dataclass(frozen=True)
class Architecture:
    """Sizes of the four networks. The defaults are those of the paper.

    Attributes:
        image_size: side of all images, px; a power of two.
        identity_dim, pose_dim: lengths of the identity embedding and the pose descriptor.
        generator_channels: channels of the generator's last block; each block before has twice as many.
        max_channels: no generator block has more; also the channels of its learned constant.
        discriminator_channels: channels of the discriminator's stem; doubled by each block up to `identity_dim`.
        discriminator_blocks: downsampling residual blocks after the stem.
        identity_layers: bottleneck blocks in each of the four groups of the ResNeXt.
        identity_width: channels of the ResNeXt's first group.
        identity_groups: groups of its grouped convolutions.
        pose_width: width multiplier of the MobileNetV2.
        pose_dropout: dropout before its last layer.
    """

    image_size: int = 256
    identity_dim: int = 512
    pose_dim: int = 256
    generator_channels: int = 64
    max_channels: int = 512
    discriminator_channels: int = 64
    discriminator_blocks: int = 5
    identity_layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    identity_width: int = 64
    identity_groups: int = 32
    pose_width: float = 1.0
    pose_dropout: float = 0.2

    @property
    def pose_size(self) -> int:
        """Side of the crops that the pose encoder looks at, px."""
        return self.image_size

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any], source: str) -> "Architecture":
        """Read what `to_json` wrote.

        Raises:
            UserError: unknown or missing sizes, as in a file of another version; names `source`.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise UserError(f"{source}: unknown architecture (differs in: {', '.join(sorted(set(values) ^ known))})")
        return cls(**{**values, "identity_layers": tuple(values["identity_layers"])})


PRESETS: dict[str, Architecture] = {
    "published": Architecture(),
    # As many weights, discriminator included, as fit into 16 MiB in half precision.
    "mini": Architecture(
        image_size=128,
        identity_dim=192,
        pose_dim=64,
        generator_channels=16,
        max_channels=192,
        discriminator_channels=16,
        discriminator_blocks=4,
        identity_layers=(1, 1, 1, 1),
        identity_width=16,
        identity_groups=8,
        pose_width=1.0,
        pose_dropout=0.0,
    ),
    "small": Architecture(
        image_size=64,
        identity_dim=256,
        pose_dim=64,
        generator_channels=32,
        max_channels=256,
        discriminator_channels=16,
        discriminator_blocks=3,
        identity_layers=(1, 1, 1, 1),
        identity_width=16,
        identity_groups=8,
        pose_width=0.5,
        pose_dropout=0.0,
    ),
}
