"""The package's public face: an avatar or meta-model that follows videos and face crops."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from reenact.data.clip import Clip
from reenact.data.images import fit, to_tensor
from reenact.data.sequence import frames_of
from reenact.faces.crops import cut_crops, follow_face
from reenact.faces.detectors import open_detectors
from reenact.media.frame_table import Stretch, frame_table
from reenact.media.probe import Passes, probe
from reenact.models.family import Identity, Model, Pictures
from reenact.models.model_file import load_model
from reenact.models.pose_edit import Control, PoseEdit
from reenact.models.precision import compute_in, lay_out, resolve_precision
from reenact.models.reenactor import Reenactor
from reenact.models.spectral_norm import fold_spectral_norms
from reenact.runtime.devices import pick_device
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import batches, opencv_in_one_thread
from reenact.settings.crop import CropSettings
from reenact.settings.decode import DecodeSettings

# Cubic enlargement and video colours overshoot a little; more than this is another range.
RANGE_MARGIN = 0.02

Source: TypeAlias = str | Path | Tensor | Iterable[np.ndarray]
"""What drives an avatar: a video file, or face crops (a tensor N x 3 x H x H in [0, 1], or uint8 arrays H x H x 3)."""


class Avatar:
    """A model ready for driving: evaluation mode, spectral norms folded.

    Attributes:
        image_size: side of its images, px.
        pose_dim: length of its pose descriptors, P below.
        identity_dim: length of its identity embeddings, I below; None in the warping family, which has none.
        personal: whether it is one person's avatar; a meta-model (False) must be told whom to show.
        family: constant (the paper's) or warping.
        metadata: of the model file, plain JSON about where the model comes from.
        precision: fp32 or bf16, what the network that draws computes in; faces are always read in fp32.
    """

    def __init__(
        self, reenactor: Model, metadata: dict[str, Any], device: torch.device, precision: str = "auto"
    ) -> None:
        self._reenactor = reenactor.to(device).eval().requires_grad_(False)
        fold_spectral_norms(self._reenactor)
        self.precision = resolve_precision(precision, device)
        lay_out(self._reenactor.pose_encoder)
        compute_in(self._reenactor.artist, self.precision)
        self._device = device
        self.metadata = metadata
        self.image_size = reenactor.architecture.image_size
        self.pose_dim = reenactor.architecture.pose_dim
        self.identity_dim: int | None = getattr(reenactor.architecture, "identity_dim", None)
        self.personal = reenactor.personal
        self.family = reenactor.family

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", precision: str = "auto") -> "Avatar":
        """Open a model file: an avatar, or a meta-model, trained or imported.

        Args:
            path: of the file (.safetensors).
            device: auto, cpu, cuda, cuda:N or mps.
            precision: fp32, bf16, or auto: bf16 where the device has instructions for it, else fp32.

        Raises:
            UserError: no such file, damaged, not a model of ours, or no such device.
        """
        reenactor, metadata, _ = load_model(Path(path))
        return cls(reenactor, metadata, pick_device(device), precision)

    @torch.no_grad()
    def identity_embedding(self, frames: Tensor) -> Tensor:
        """What a person looks like, to a model of the constant family; average it over several frames of the person.

        Args:
            frames: B x 3 x H x H, float, RGB in [0, 1], cropped as the training data; any H.

        Returns:
            B x I.

        Raises:
            UserError: other shape, type or range; or a model of the warping family, which wants `identify`.
        """
        if not isinstance(self._reenactor, Reenactor):
            raise UserError(
                "a model of the warping family has no identity embeddings; use avatar.identify(crops, mattes)"
            )
        return self._reenactor.identity_encoder(self._frames(frames))

    @torch.no_grad()
    def identify(self, crops: Pictures, mattes: Pictures | None = None) -> Identity:
        """Whom pictures show, for a meta-model of either family.

        Args:
            crops: uint8 H x H x 3, cropped as the training data, at least one.
            mattes: uint8 H x H, of the same pictures; the constant family does without.

        Returns:
            An identity embedding (1 x I), or the best photos with what they say of the person's face.

        Raises:
            UserError: no picture, or no mattes where they are needed.
        """
        return self._reenactor.identify([_square(crop) for crop in crops], mattes)

    @torch.no_grad()
    def pose_embedding(self, frames: Tensor) -> Tensor:
        """What a face does: pose descriptors.

        Args:
            frames: B x 3 x H x H, float, RGB in [0, 1], cropped as the training data; any H.

        Returns:
            B x P.

        Raises:
            UserError: other shape, type or range.
        """
        return self._reenactor.pose_encoder(self._frames(frames))

    def controls(self) -> dict[str, Control]:
        """What can be moved by name, such as smile, with range, unit and how well it was measured to work.

        `avatar.render(None, edit={"smile": 0.5, "yaw": 10})` is a still of the person, smiling and turned. Only what
        passed its measurement is here; {} for a model that has nothing to offer.
        """
        return dict(self._reenactor.controls)

    def check_edit(self, edit: PoseEdit) -> None:
        """Refuse what this model cannot do, before a driver is followed.

        Raises:
            UserError: a control that is not offered, a value beyond its range, or another family.
        """
        self._reenactor.check_edit(True, edit)

    @torch.no_grad()
    def render(
        self, pose: Tensor | None, identity: Identity | None = None, edit: PoseEdit | Mapping[str, float] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures of the person in these poses.

        Args:
            pose: B x P, from `pose_embedding`; None = one picture of the person's own face, as in its best photo (the
                warping family).
            identity: from `identify` or `identity_embedding` (I, 1 x I or B x I); an avatar has its own, a meta-model
                needs it.
            edit: changes faces before they are shown: values of `controls()` by name, or a `PoseEdit`, which can do
                more: parts that follow less or more, relative motion, retargeting.

        Returns:
            RGB B x 3 x S x S, already multiplied by the matte, and matte B x 1 x S x S; both in [0, 1].

        Raises:
            UserError: a meta-model without `identity`, other shapes, an unknown control, a value beyond its range, or
                an edit that this model cannot do.
        """
        if edit is not None and not isinstance(edit, PoseEdit):
            edit = PoseEdit(controls=edit)
        if pose is not None:
            if pose.ndim != 2 or pose.shape[1] != self.pose_dim:
                raise UserError(f"pose: shape {tuple(pose.shape)}; pose descriptors are B x {self.pose_dim}")
            pose = pose.to(self._device, torch.float32)
        return self._reenactor.show(pose, identity, edit)

    def drive(
        self,
        source: Source,
        identity: Identity | None = None,
        batch_size: int = 8,
        adjust: Callable[[Tensor], Tensor] | None = None,
        crop: CropSettings | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Follow a driver, batch by batch; memory does not grow with the driver's length.

        Args:
            source: a video file (its face is found, followed and cropped as training data are), or crops: a tensor
                N x 3 x H x H in [0, 1], or any iterable of uint8 arrays H x H x 3.
            identity: from `identify` or `identity_embedding`; a meta-model needs it.
            batch_size: frames at once.
            adjust: changes the pose descriptors, b x P -> b x P; called batch by batch, in order.
            crop: how to crop a video; None = the defaults.

        Returns:
            Yields RGB b x 3 x S x S and matte b x 1 x S x S, as `render` does, in the order of the frames.

        Raises:
            UserError: a meta-model without `identity`; no such video, or no face in it; other shapes, types or ranges.
        """
        self._reenactor.check_identity(identity, 1)
        poses = self.pose_embeddings(source, batch_size, crop)
        return (self.render(pose if adjust is None else adjust(pose), identity) for pose in poses)

    def pose_embeddings(
        self, source: Source, batch_size: int = 8, crop: CropSettings | None = None
    ) -> Iterator[Tensor]:
        """What a driver's face does, batch by batch: yields b x P. Arguments and errors are those of `drive`."""
        if batch_size < 1:
            raise UserError(f"batch_size: {batch_size} must be at least 1")
        if isinstance(source, str | Path):
            source = video_crops(Path(source), crop or CropSettings())
        size = self._reenactor.architecture.pose_size
        frames = source.split(batch_size) if isinstance(source, Tensor) else _tensors(source, batch_size, size)
        return map(self.pose_embedding, frames)

    def sees_like(self, other: "Avatar") -> bool:
        """Whether both have the same pose encoder, so that the descriptors of one are those of the other."""
        ours, theirs = (avatar._reenactor.pose_encoder.state_dict() for avatar in (self, other))
        return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())

    def _frames(self, frames: Tensor) -> Tensor:
        """Checked frames at the size that the pose encoder looks at, on its device."""
        if (
            not isinstance(frames, Tensor)
            or frames.ndim != 4
            or frames.shape[1] != 3
            or frames.shape[2] != frames.shape[3]
        ):
            shape = tuple(frames.shape) if hasattr(frames, "shape") else type(frames).__name__
            raise UserError(f"frames: {shape}; needed: a tensor B x 3 x H x H (square crops, RGB, channels first)")
        if not frames.is_floating_point():
            raise UserError(f"frames: type {frames.dtype}; needed: floating point in [0, 1], e.g. frames.float() / 255")
        frames = frames.to(self._device, torch.float32)
        if frames.numel():
            minimum, maximum = (value.item() for value in frames.aminmax())
            if not (minimum >= -RANGE_MARGIN and maximum <= 1 + RANGE_MARGIN):
                raise UserError(f"frames: values from {minimum:.3g} to {maximum:.3g}; needed: RGB in [0, 1]")
        return fit(frames, self._reenactor.architecture.pose_size)


def _tensors(source: Iterable[np.ndarray], batch_size: int, size: int) -> Iterator[Tensor]:
    """uint8 crops of any sides -> float batches b x 3 x size x size in [0, 1]."""
    for batch in batches(source, batch_size):
        for frame in batch:
            _square(frame)
        yield torch.cat([fit(to_tensor(frame[None]), size) for frame in batch])


def _square(frame: np.ndarray) -> np.ndarray:
    """A frame, if it is uint8 H x H x 3."""
    good = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    if not good or frame.shape[0] != frame.shape[1]:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(f"frames: {found}; needed: a tensor N x 3 x H x H, or uint8 arrays H x H x 3")
    return frame


def video_crops(media: Path, settings: CropSettings) -> Iterator[np.ndarray]:
    """The face crops of every frame of a driving video, one by one: uint8 RGB, size x size x 3.

    Raises:
        UserError: no such video, or no face in it.
    """
    passes = Passes(probe(media))
    table = frame_table(passes.media, "driver", Stretch(), DecodeSettings())
    with open_detectors(settings, "auto", threads=1) as detectors, opencv_in_one_thread():
        face = follow_face(passes, table, detectors, settings)
    for _, crop, _ in cut_crops(passes, face.table, settings, 1, np.asarray):
        yield crop


def person_identity(avatar: Avatar, model: Path, crops: Path | None) -> Identity | None:
    """Whom a model shows: None for an avatar, which has an identity of its own; for a meta-model of the constant family
    the mean embedding of all training pictures of a person.

    Raises:
        UserError: a meta-model without crops of a person, or one of the warping family.
    """
    if avatar.personal:
        return None
    if avatar.family != Reenactor.family:
        raise UserError(
            f"{model}: is a meta-model of the {avatar.family} family; first make an avatar of the person with stage "
            "finetune (finetune.sweep: [] trains nothing)"
        )
    if crops is None:
        raise UserError(
            f"{model}: is a meta-model, which can be anybody; give the person's crops with --identity-crops"
        )
    clip = Clip(crops)
    names = frames_of(clip, "train")["image"].tolist()
    if not names:
        raise UserError(f"{crops}: no picture of role train; these are not an identity's crops")
    return avatar.identify(clip.images(names))
