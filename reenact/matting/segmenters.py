"""The networks that make mattes: mediapipe's selfie segmentation, and segmentation models of Hugging Face.

Each has `mattes`, which several threads may call at a time, and `batch_size`, how many pictures it likes to get at
once.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import cv2
import numpy as np

from reenact.matting.selfie import Selfie
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import ToolPool
from reenact.settings.segment import SegmentSettings

# The last commit of the default model that was looked at: CelebAMask-HQ's 19 labels, weights as safetensors.
DEFAULT_MODEL = SegmentSettings.model_fields["model"].default
PINNED = "13e2694f59bd148d637320c3f6ce37c4b9b6db03"
# The mean of a good matte over the face. In 97 % of the frames of 50 talking heads it lies above; those below have
# lost parts.
COVERED = 0.97
BACKGROUND = {"background", "bg", "unlabeled", "unlabelled", "void"}


class Segmenter(Protocol):
    """What makes mattes. Use it as a context manager."""

    batch_size: int

    def __enter__(self) -> "Segmenter": ...

    def __exit__(self, *_: object) -> None: ...

    def mattes(self, images: np.ndarray, faces: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Mattes of pictures.

        Args:
            images: uint8 RGB, N x H x W x 3.
            faces: where the face is in each, uint8, H x W, 1 inside; helps some networks.

        Returns:
            float32, N x H x W, 0 background to 1 person.
        """


def open_segmenter(settings: SegmentSettings, *, device: str = "auto", threads: int = 1) -> Segmenter:
    """The network that `settings.network` names.

    Args:
        settings: see `SegmentSettings`.
        device: of transformers' models, as `pick_device` takes it; mediapipe runs on the CPU.
        threads: how many threads will call it, and how many CPU threads transformers' models use.

    Raises:
        UserError: the model cannot be had, or is not what its settings say.
    """
    if settings.network == "transformers":
        return TransformersSegmenter(settings, device, threads)
    return MediapipeSegmenter(general=settings.network == "mediapipe_general", threads=threads)


class MediapipeSegmenter:
    """mediapipe's selfie segmentation, with networks of their own for each thread.

    Its "landscape" model (144 x 256) was made for video calls. On 9 talking heads cut out of plain backgrounds and
    put before others it is closer to the truth than the general one (256 x 256), in half the time
    (docs/experiments/preprocessing.md). Where it misses the face, as it does in some profiles, the general one is
    asked too.
    """

    batch_size = 8

    def __init__(self, *, general: bool = False, threads: int = 1) -> None:
        self._shared = ToolPool([_Selfies(general) for _ in range(threads)])

    def __enter__(self) -> "MediapipeSegmenter":
        return self

    def __exit__(self, *_: object) -> None:
        del self._shared

    def mattes(self, images: np.ndarray, faces: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """See `Segmenter.mattes`."""
        known = [None] * len(images) if faces is None else faces
        return np.stack(
            [
                self._shared.use(partial(_Selfies.matte, image=image, face=face))
                for image, face in zip(images, known, strict=True)
            ]
        )


class _Selfies:
    """One thread's networks: the one that is asked first, and the general one as soon as it is needed."""

    def __init__(self, general: bool) -> None:
        self._first = Selfie(general=general)
        self._general = self._first if general else None

    def matte(self, image: np.ndarray, face: np.ndarray | None) -> np.ndarray:
        """Matte of one picture, float32, H x W; of both models' that which covers the face, if one does not."""
        matte = self._first.matte(image)
        if face is None or self._general is self._first:
            return matte
        covered = cv2.mean(matte, face)[0]
        if covered >= COVERED:
            return matte
        self._general = self._general or Selfie(general=True)
        other = self._general.matte(image)
        return other if cv2.mean(other, face)[0] > covered else matte


class TransformersSegmenter:
    """A semantic (SegFormer, BEiT, UperNet, ...) or universal (MaskFormer, Mask2Former) segmentation model.

    Pictures are scaled and normalised here, as the model's preprocessor_config.json says, because transformers' own
    processors want torchvision. The matte is the probability of the labels that count as the person.
    """

    def __init__(self, settings: SegmentSettings, device: str, threads: int) -> None:
        self.batch_size = settings.batch_size
        # Only here: neither is needed for mediapipe, and both take seconds to import.
        try:
            import transformers
        except ImportError:
            raise UserError(
                "segment.network: 'transformers' needs the package of that name; "
                "install it with pip install 'reenact[transformers]', or set segment.network: mediapipe"
            ) from None
        import torch

        from reenact.runtime.devices import pick_device

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._torch = torch
        self._device = pick_device(device, threads)
        self._lock = Lock()
        self._size, self._mean, self._std = _preprocessing(settings)
        self._network = _load(settings, transformers).to(self._device).eval()
        self._mine = person_labels(self._network.config.id2label, settings)

    def __enter__(self) -> "TransformersSegmenter":
        return self

    def __exit__(self, *_: object) -> None:
        del self._network

    def mattes(self, images: np.ndarray, faces: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """See `Segmenter.mattes`."""
        torch = self._torch
        with self._lock, torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2).float() / 255
            if self._size:
                pixels = torch.nn.functional.interpolate(
                    pixels, self._size, mode="bilinear", antialias=True, align_corners=False
                )
            mean, std = (
                torch.tensor(values, device=self._device).view(1, -1, 1, 1) for values in (self._mean, self._std)
            )
            odds = self._log_odds(self._network(pixel_values=(pixels - mean) / std))
            odds = torch.nn.functional.interpolate(
                odds[:, None].float(), images.shape[1:3], mode="bilinear", align_corners=False
            )
            return odds[:, 0].sigmoid().cpu().numpy()

    def _log_odds(self, output: Any) -> Any:
        """Logarithm of the odds that a pixel is the person's, N x h x w at the network's own resolution."""
        torch = self._torch
        mine = torch.tensor(self._mine, device=self._device)
        if hasattr(output, "masks_queries_logits"):
            # Each query is a mask and what it is; its last class is "nothing".
            classes = output.class_queries_logits.softmax(-1)[..., :-1]
            scores = (
                torch.einsum("nqc,nqhw->nchw", classes, output.masks_queries_logits.sigmoid()).clamp_min(1e-6).log()
            )
        else:
            scores = output.logits
        return scores[:, mine].logsumexp(1) - scores[:, ~mine].logsumexp(1)


def person_labels(names: dict[int, str], settings: SegmentSettings) -> list[bool]:
    """For each label of a model, by number, whether it counts as the person.

    Args:
        names: the model's labels (`id2label`).
        settings: `labels` names those that count; none named means all but the background.

    Raises:
        UserError: a named label is not among them, none is left, or there is no background to leave out.
    """
    ordered = [str(names[number]) for number in sorted(names)]
    plain = [name.strip().lower() for name in ordered]
    wanted = {label.strip().lower(): label for label in settings.labels}
    unknown = [label for key, label in wanted.items() if key not in plain]
    has = f"{settings.model} has: {', '.join(ordered[:60])}{', ...' if len(ordered) > 60 else ''}"
    if unknown:
        raise UserError(f"segment.labels: no label {', '.join(repr(label) for label in unknown)}; {has}")
    mine = [name in wanted for name in plain] if wanted else [name not in BACKGROUND for name in plain]
    if all(mine) and wanted:
        raise UserError(f"segment.labels: all labels count as the person, so nothing is left for the background; {has}")
    if all(mine):
        raise UserError(f"segment.labels: no label is called 'background', so those of the person must be named; {has}")
    if not any(mine):
        raise UserError(f"segment.model: {settings.model!r} knows nothing but background; {has}")
    return mine


def _source(settings: SegmentSettings) -> dict[str, Any]:
    """Where transformers finds a model: arguments of its functions."""
    folder = Path(settings.model)
    if folder.is_dir():
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    if settings.model.count("/") != 1 or settings.model.startswith((".", "/", "~")):
        raise UserError(
            f"segment.model: {settings.model!r} is neither an existing folder nor an id such as {DEFAULT_MODEL}"
        )
    revision = settings.revision or (PINNED if settings.model == DEFAULT_MODEL else "main")
    return {"pretrained_model_name_or_path": settings.model, "revision": revision, "local_files_only": settings.offline}


def _load(settings: SegmentSettings, transformers: Any) -> Any:
    """The network, with weights from safetensors only and without code from the hub."""
    source = _source(settings)
    try:
        config = transformers.AutoConfig.from_pretrained(**source)
        for kind in (transformers.AutoModelForSemanticSegmentation, transformers.AutoModelForUniversalSegmentation):
            if type(config) in kind._model_mapping:
                return kind.from_pretrained(**source, config=config, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        where = "is it complete?"
        if "revision" in source:
            where = (
                "without internet, copy the model's folder here and name it in segment.model, "
                "or set segment.network: mediapipe"
            )
        raise UserError(f"segment.model: {settings.model!r} cannot be loaded ({reason}); {where}") from error
    raise UserError(
        f"segment.model: {settings.model!r} is a {config.model_type} model, which does not segment by labels; "
        f"take a semantic or universal segmentation model such as {DEFAULT_MODEL}"
    )


def _preprocessing(settings: SegmentSettings) -> tuple[tuple[int, int] | None, list[float], list[float]]:
    """Height and width (None = as they are), mean and standard deviation of a model's pictures, in [0, 1]."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        values, _ = ImageProcessingMixin.get_image_processor_dict(**_source(settings))
    except (OSError, json.JSONDecodeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"segment.model: {settings.model!r} cannot be loaded ({reason}); a folder needs config.json, "
            "preprocessor_config.json and model.safetensors; without internet, name such a folder, "
            "or set segment.network: mediapipe"
        ) from error
    mean, std = [0.0] * 3, [1.0] * 3
    if values.get("do_normalize", True):
        mean, std = values.get("image_mean") or [0.485, 0.456, 0.406], values.get("image_std") or [0.229, 0.224, 0.225]
    if not values.get("do_rescale", True):
        mean, std = [m / 255 for m in mean], [s / 255 for s in std]
    return _picture_size(values), list(mean), list(std)


def _picture_size(values: dict[str, Any]) -> tuple[int, int] | None:
    if not values.get("do_resize", True):
        return None
    size: int | dict[str, int] = values.get("size") or 512
    if isinstance(size, int):
        return size, size
    # Crops are square, so the shortest edge is every edge.
    side = size.get("shortest_edge") or size.get("longest_edge") or 512
    return size.get("height", side), size.get("width", side)
