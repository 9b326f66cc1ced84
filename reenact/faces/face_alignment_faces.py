"""Faces by the package face-alignment (Bulat and Tzimiropoulos, ICCV 2017): S3FD or another detector, 3DFAN landmarks.

This is what the published code uses. The package loads its own networks; pictures are given to them in batches, and
landmarks are read off their heatmaps at fractions of a pixel (the package itself rounds them to whole pixels).
Weights come from the package's own download, or from a folder.
"""

import importlib.metadata
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from reenact.faces.face import Face
from reenact.runtime.errors import UserError
from reenact.settings.crop import FaceAlignmentSettings

# Its window around a box: side (width + height) x 200 / reference, moved up by 12 % of the box's height.
_WINDOW, _RAISED = 200.0, 0.12
_PIXELS, _CELLS = 256, 64


@dataclass(frozen=True)
class _Boxes:
    """One of the package's detectors: its weights' names, the name of its threshold, and whether it takes batches."""

    files: tuple[str, ...]
    threshold: str = ""
    batched: bool = False


_DETECTORS = {
    "sfd": _Boxes(("s3fd-619a316812.pth",), "filter_threshold", batched=True),
    "blazeface": _Boxes(("blazeface.pth", "anchors.npy"), "min_score_thresh", batched=True),
    "retinaface": _Boxes(("retinaface_mobilenet0.25.pth",), "confidence_threshold"),
    "scrfd": _Boxes(("scrfd_2.5g_bnkps.onnx",), "confidence_threshold"),
    "yunet": _Boxes(("face_detection_yunet_2023mar.onnx",), "score_threshold"),
    "dlib": _Boxes(()),
}
_LANDMARKS = "3DFAN4-7835d9f11d.pth.tar"


class FaceAlignmentFinder:
    """Finds faces with networks of the package face-alignment, which are loaded once."""

    def __init__(self, settings: FaceAlignmentSettings, *, min_confidence: float = 0.5, device: str = "cpu") -> None:
        """Load the networks.

        Args:
            settings: which detector, and where its weights are.
            min_confidence: least confidence of a detection, 0 to 1.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto": the best there is.

        Raises:
            UserError: weights are not there, cannot be downloaded, or are not those of the network.
        """
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        self.batch = settings.batch_size
        self._device = device
        self._kind = _DETECTORS[settings.boxes]
        self._min_confidence = min_confidence
        self._boxes = _load_boxes(settings, min_confidence, device)
        self._landmarks = _load_landmarks(settings, device)

    def close(self) -> None:
        """Free the networks."""
        del self._boxes, self._landmarks

    def find_all(self, images: list[np.ndarray]) -> list[list[Face]]:
        """The faces in each picture (uint8 RGB, H x W x 3, any sizes), larger ones first; empty where there is none."""
        boxes = self._find_boxes(images)
        places = [(number, box) for number, found in enumerate(boxes) for box in found]
        faces: list[list[Face]] = [[] for _ in images]
        for start in range(0, len(places), self.batch):
            part = places[start : start + self.batch]
            points = self._find_landmarks([(images[number], box) for number, box in part])
            for (number, box), marks in zip(part, points, strict=True):
                faces[number].append(Face(marks, float(box[4]), box[:4]))
        return [sorted(found, key=lambda f: -(f.box[2] - f.box[0]) * (f.box[3] - f.box[1])) for found in faces]

    def _find_boxes(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Boxes of each picture: K x 5 (left, top, right, bottom, px; confidence)."""
        import torch

        found: list[Any]
        if self._kind.batched and len({image.shape for image in images}) == 1:
            found = []
            for start in range(0, len(images), self.batch):
                batch = torch.from_numpy(np.stack(images[start : start + self.batch])).permute(0, 3, 1, 2).float()
                found += list(self._boxes.detect_from_batch(batch))
        else:
            found = [self._boxes.detect_from_image(image.copy()) for image in images]
        return [_as_boxes(boxes, self._min_confidence) for boxes in found]

    def _find_landmarks(self, faces: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """68 landmarks of each face, given as picture and box."""
        import torch

        windows = [_window(box, self._boxes.reference_scale) for _, box in faces]
        pixels = []
        for (image, _), (x, y, side) in zip(faces, windows, strict=True):
            step = side / _PIXELS
            back = np.array([[step, 0, x + step / 2 - 0.5], [0, step, y + step / 2 - 0.5]])
            pixels.append(
                cv2.warpAffine(image, back, (_PIXELS, _PIXELS), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            )
        batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().to(self._device) / 255
        with torch.inference_mode():
            heatmaps = self._landmarks(batch)
        heatmaps = heatmaps[-1] if isinstance(heatmaps, list) else heatmaps
        peaks = read_peaks(heatmaps.float().cpu().numpy())
        return [
            (np.array([x, y]) + peak * (side / _CELLS)).astype(np.float32)
            for peak, (x, y, side) in zip(peaks, windows, strict=True)
        ]


def read_peaks(heatmaps: np.ndarray) -> np.ndarray:
    """Where heatmaps (B x 68 x H x W) peak: B x 68 x 2 (x, y) in cells, a quarter towards the higher neighbour."""
    count, marks, _, width = heatmaps.shape
    best = heatmaps.reshape(count, marks, -1).argmax(axis=-1)
    rows, columns = best // width, best % width
    around = np.pad(heatmaps, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    b, m = np.ogrid[:count, :marks]
    across = np.sign(around[b, m, rows + 1, columns + 2] - around[b, m, rows + 1, columns])
    down = np.sign(around[b, m, rows + 2, columns + 1] - around[b, m, rows, columns + 1])
    return np.stack([columns + 0.5 + 0.25 * across, rows + 0.5 + 0.25 * down], axis=-1)


def _window(box: np.ndarray, reference: float) -> tuple[float, float, float]:
    """Left, top and side (px) of the square that the landmark network sees of a face."""
    width, height = box[2] - box[0], box[3] - box[1]
    side = _WINDOW * (width + height) / reference
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - _RAISED * height
    return middle[0] - side / 2, middle[1] - side / 2, side


def _as_boxes(boxes: Any, min_confidence: float) -> np.ndarray:
    """What the package's detectors return (lists, arrays, some without confidences) as K x 5 float64."""
    array = (
        np.array([np.asarray(box, float) for box in boxes], float).reshape(len(boxes), -1)
        if len(boxes)
        else np.zeros((0, 5))
    )
    if array.shape[1] == 4:
        array = np.column_stack([array, np.ones(len(array))])
    sizes = array[:, 2:4] - array[:, :2]
    return array[(array[:, 4] >= min_confidence) & (sizes > 1).all(axis=1)]


# ---- loading ------------------------------------------------------------------------------------------------


def _load_boxes(settings: FaceAlignmentSettings, min_confidence: float, device: str) -> Any:
    module = _detector_module(settings.boxes)
    kind = _DETECTORS[settings.boxes]
    given: dict[str, Any] = {kind.threshold: min_confidence} if kind.threshold else {}
    if settings.weights and kind.files:
        paths = [str(_local(settings.weights, name)) for name in kind.files]
        given |= dict(zip(("path_to_detector", "path_to_anchor"), paths, strict=False))
    with _Loading(settings, kind.files, _addresses(module)):
        return module.FaceDetector(device=device, **given)


def _load_landmarks(settings: FaceAlignmentSettings, device: str) -> Any:
    import torch
    from face_alignment.api import models_urls
    from face_alignment.models import FAN
    from face_alignment.utils import load_file_from_url

    address = models_urls["3DFAN-4"]
    with _Loading(settings, (_LANDMARKS,), [address]):
        path = _local(settings.weights, _LANDMARKS) if settings.weights else load_file_from_url(address)
        net = FAN(4)
        net.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return net.to(device).eval()


def _detector_module(name: str) -> ModuleType:
    """The module of one of the package's detectors, whose weights' addresses lie in the module below it."""
    try:
        match name:
            case "sfd":
                from face_alignment.detection import sfd as module
            case "blazeface":
                from face_alignment.detection import blazeface as module
            case "dlib":
                from face_alignment.detection import dlib as module
            case "retinaface":
                from face_alignment.detection import retinaface as module
            case "scrfd":
                from face_alignment.detection import scrfd as module
            case _:
                from face_alignment.detection import yunet as module
    except ImportError as error:
        version = importlib.metadata.version("face-alignment")
        raise UserError(
            f"crop.face_alignment.boxes: {name!r} cannot be used with face-alignment {version} "
            f"as it is installed ({error})"
        ) from error
    return module


def _addresses(module: ModuleType) -> list[str]:
    inner = [
        part
        for part in vars(module).values()
        if isinstance(part, ModuleType) and part.__name__.startswith(module.__name__)
    ]
    known = [getattr(part, "models_urls", {}) for part in inner]
    single = [part.model_url for part in inner if hasattr(part, "model_url")]
    return single + [address for addresses in known for address in addresses.values()]


def _local(folder: str, name: str) -> Path:
    path = Path(folder) / name
    if not path.is_file():
        there = sorted(p.name for p in Path(folder).iterdir()) if Path(folder).is_dir() else None
        state = "there is no such folder" if there is None else f"it has: {', '.join(there[:8]) or 'nothing'}"
        raise UserError(f"crop.face_alignment.weights: {name} is not in {folder!r} ({state})")
    return path


class _Loading:
    """Turns what goes wrong while weights are loaded into a message that names file, address and setting."""

    def __init__(self, settings: FaceAlignmentSettings, files: tuple[str, ...], addresses: list[str]) -> None:
        self._settings, self._files, self._addresses = settings, files, addresses

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        names = " and ".join(self._files)
        if isinstance(error, ImportError):
            raise UserError(
                f"crop.face_alignment.boxes: {self._settings.boxes!r} cannot be used here ({error})"
            ) from error
        if self._settings.weights and isinstance(
            error, RuntimeError | OSError | ValueError | KeyError | EOFError | pickle.UnpicklingError
        ):
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"crop.face_alignment.weights: {names} in {self._settings.weights!r} cannot be loaded ({reason})"
            ) from error
        if isinstance(error, OSError):
            # Of several addresses those of the files that are asked for.
            wanted = [a for a in self._addresses if any(f"/{name}" in a for name in self._files)] or self._addresses
            raise UserError(
                f"{' and '.join(wanted) or names} cannot be downloaded ({error}); fetch it where there is internet, "
                f"put it as {names} into a folder, and name the folder in crop.face_alignment.weights "
                "(or use crop.detector: mediapipe)"
            ) from error
