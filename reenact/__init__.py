"""Neural head avatars driven by latent pose descriptors (Burkov et al., CVPR 2020)."""

__version__ = "0.1.0"
