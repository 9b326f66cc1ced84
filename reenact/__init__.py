"""Neural head avatars driven by latent pose descriptors (Burkov et al., CVPR 2020)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reenact.avatar import Avatar
    from reenact.runtime.errors import UserError

__version__ = "0.1.0"
__all__ = ["Avatar", "UserError", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what is asked for at that moment: the Snakefile imports this package and must not load torch."""
    if name == "Avatar":
        from reenact.avatar import Avatar

        return Avatar
    if name == "UserError":
        from reenact.runtime.errors import UserError

        return UserError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
