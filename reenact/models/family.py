"""What everything outside asks of a model, of whichever family.

Two families follow pose descriptors. The *constant* one is the paper's: a generator draws a person from an identity
embedding (`reenact.models.reenactor`). The *warping* one moves the person's own photos (`reenact.models.warping`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from torch import Tensor, nn

from reenact.models.pose_edit import Control, PoseEdit


@dataclass(frozen=True)
class References:
    """Whom a model of the warping family shows.

    Attributes:
        photos: uint8 K x R x R x 4, RGB and matte.
        meshes: K x M x 3, of the faces in them, fractions of the side.
        neutral: M x 3, the person's canonical face as it is where descriptors say nothing.
        head_offset: 10, what is added to what the person's descriptors say of the head.
        relief: K x 3 x G x G, what the person's other photos say of what surrounds the faces in these
            [`reenact.models.warping.reference.Reference.with_relief`]; None = they were not asked.
    """

    photos: Tensor
    meshes: Tensor
    neutral: Tensor
    head_offset: Tensor
    relief: Tensor | None = None


Identity: TypeAlias = Tensor | References
"""Whom a model shows: an identity embedding (1 x I, or a row a picture), or photos with what is known of them."""


Pictures: TypeAlias = Sequence[np.ndarray] | np.ndarray
"""uint8 pictures, in a list or an array."""


class Sizes(Protocol):
    """What every family's architecture says.

    Attributes:
        image_size: side of the pictures that a model makes, px.
        pose_size: side of the crops that its pose encoder looks at, px.
        pose_dim: length of its pose descriptors.
    """

    @property
    def image_size(self) -> int:
        """See above."""

    @property
    def pose_size(self) -> int:
        """See above."""

    @property
    def pose_dim(self) -> int:
        """See above."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, from which the model is built again."""


class Model(nn.Module, ABC):
    """A model of one of the families.

    Attributes:
        family: its name.
        architecture: sizes.
        pose_encoder: crops B x 3 x pose_size x pose_size in [0, 1] -> pose descriptors B x P.
        controls: what can be moved, by name; stored in the model file, and {} where nothing was measured.
    """

    family: ClassVar[str]
    architecture: Sizes
    pose_encoder: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.controls: dict[str, Control] = {}

    @property
    @abstractmethod
    def artist(self) -> nn.Module:
        """The network that draws; it may compute in bfloat16 (`reenact.models.precision`), what reads faces may not."""

    @property
    @abstractmethod
    def personal(self) -> bool:
        """Whether it is one person's avatar; a meta-model must be told whom to show."""

    @abstractmethod
    def identify(self, crops: Pictures, mattes: Pictures | None = None) -> Identity:
        """Whom crops show; a personal model shows its own person, whatever is given.

        Args:
            crops: uint8 H x H x 3, at least one.
            mattes: uint8 H x H, of the same pictures.
        """

    @abstractmethod
    def check_identity(self, identity: Identity | None, count: int) -> None:
        """Refuse an identity that this model cannot show in `count` pictures.

        Raises:
            UserError: none for a meta-model, one of another family, or another shape.
        """

    @abstractmethod
    def check_edit(self, pose_given: bool, edit: PoseEdit) -> None:
        """Refuse what this model cannot do.

        Args:
            pose_given: whether pictures follow descriptors; otherwise they show the person's own face.
            edit: what is asked.

        Raises:
            UserError: a family that knows no parts of a face, a control that is not offered, a value beyond its range.
        """

    @abstractmethod
    def traceable(self) -> nn.Module:
        """What `show` computes as a module that can be traced: poses B x P (and, for a meta-model, identity embeddings
        B x I) -> pictures and mattes. Nothing is checked in it, and an avatar's person is part of it."""

    @abstractmethod
    def show(
        self, pose: Tensor | None, identity: Identity | None = None, edit: PoseEdit | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures of a person in poses; an avatar shows its own person where no identity is given.

        Args:
            pose: B x P; None = one picture of the person's own face, where the family knows it.
            identity: from `identify`.
            edit: what is done to the faces before they are shown.

        Returns:
            RGB times matte B x 3 x S x S, and matte B x 1 x S x S, both in [0, 1].

        Raises:
            UserError: see `check_identity` and `check_edit`.
        """
