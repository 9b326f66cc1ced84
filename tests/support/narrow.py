"""Networks of the published shape, as small as they can be, for tests that train or compare them."""

from reenact.models.architecture import Architecture

NARROW = Architecture(
    image_size=32,
    identity_dim=32,
    pose_dim=16,
    generator_channels=16,
    max_channels=32,
    discriminator_channels=8,
    discriminator_blocks=3,
    identity_layers=(1, 2, 1, 1),
    identity_width=8,
    identity_groups=4,
    pose_width=0.25,
    pose_dropout=0.0,
)
"""Its shapes are those of fixtures/parity_small.npz."""
