"""The face descriptors behind the identity error. Compare errors of one descriptor with each other only.

dlib's ResNet-29, the default: 128 numbers per face, trained by Davis King on about 3 M faces of 7,485 people, 99.38 %
on LFW (dlib.net, `dlib_face_recognition_resnet_model_v1`; the weights are in the public domain). The network was
trained for distances (below 0.6 = same person), so its descriptors share a large common part and cosines are high: two
strangers have an identity error of 0.12 to 0.20, two frames of one video 0.01 to 0.05 (measured on the demo's people,
at 64 and 256 px).

Any network of ArcFace's kind from an ONNX file: aligned faces of 112 x 112 px in, a descriptor out (Deng et al.,
ArcFace, CVPR 2019). Whoever has such weights knows their licence; it stands in every table beside the name.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from reenact.evaluation.dlib_network import DIMENSIONS, DlibNetwork
from reenact.runtime.errors import UserError
from reenact.runtime.parallel import batches

DLIB_NAME = "dlib ResNet-29 v1 (public domain)"
CHIP_SIZE = 150
AT_ONCE = 8
"""Faces that dlib's network sees in one batch; more are no faster."""

ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eyes, nose tip and mouth corners lie in an aligned face of 112 x 112 px (Deng et al.)."""

ARCFACE_SIZES = ((112, 112), (112, 96))
"""Heights and widths that aligned faces come in; the narrower is the same picture without 8 px on either side."""


class FaceDescriptor(Protocol):
    """Maps a face to numbers, given its 68 landmarks."""

    name: str
    """For tables: network and licence of the weights."""

    dimensions: int

    def describe(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Descriptor of one face: `dimensions` float64, not normalised.

        Args:
            image: uint8 H x W x 3 RGB.
            landmarks: its 68 x 2 points, px.

        A face without landmarks (any NaN) gives NaN.
        """
        ...

    def describe_all(self, faces: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Descriptors of faces, N x `dimensions`, of their images and landmarks as `describe` takes them; all known."""
        ...


def load_descriptor(kind: str, weights: Path, licence: str = "") -> FaceDescriptor:
    """A descriptor by its name in the settings.

    Args:
        kind: dlib or arcface.
        weights: its file.
        licence: of the weights, for the tables; '' = what is known.

    Raises:
        UserError: the file is missing or is no such network.
    """
    if not Path(weights).is_file():
        raise UserError(
            f"score.descriptor_weights: {weights} does not exist; "
            "the rule `fetch` downloads dlib_face_recognition_resnet_model_v1.dat, others have to be there"
        )
    return DlibDescriptor(weights, licence) if kind == "dlib" else ArcFaceDescriptor(weights, licence)


class DlibDescriptor:
    """dlib's ResNet-29, run by torch on faces that dlib cuts out."""

    dimensions = DIMENSIONS

    def __init__(self, weights: Path, licence: str = "") -> None:
        """Load the weights; see `load_descriptor`."""
        self.name = f"dlib ResNet-29 v1 ({licence})" if licence else DLIB_NAME
        _dlib()  # that it is missing is said now, not at the first face
        self._network = DlibNetwork(Path(weights))

    def describe(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """See `FaceDescriptor.describe`. 0.007 s a face on one core."""
        if np.isnan(landmarks).any():
            return np.full(self.dimensions, np.nan)
        return self.describe_all([(image, landmarks)])[0]

    def describe_all(self, faces: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """See `FaceDescriptor.describe_all`. 0.003 s a face, and by less than 1e-6 other numbers than one by one."""
        chips = (torch.from_numpy(face_chip(image, landmarks)) for image, landmarks in faces)
        found = [self._network(torch.stack(batch)) for batch in batches(chips, AT_ONCE)]
        return torch.cat([torch.empty(0, self.dimensions), *found]).double().numpy()


class ArcFaceDescriptor:
    """A network from an ONNX file: input 1 x 3 x 112 x 112 (or 112 x 96), RGB in [-1, 1]; output 1 x D."""

    def __init__(self, weights: Path, licence: str = "") -> None:
        """Load the network; see `load_descriptor`."""
        try:
            from onnxruntime import InferenceSession
            from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf
        except ImportError:
            raise UserError(
                "score.descriptor: arcface needs the package onnxruntime; pip install onnxruntime"
            ) from None
        try:
            self._session = InferenceSession(str(weights), providers=["CPUExecutionProvider"])
        except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf) as error:
            raise UserError(
                f"score.descriptor_weights: {weights} is not a readable ONNX network ({str(error).splitlines()[0]})"
            ) from None
        entry, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._input, sides = entry.name, tuple(entry.shape[-2:])
        if (
            len(entry.shape) != 4
            or sides not in ARCFACE_SIZES
            or len(result.shape) != 2
            or not isinstance(result.shape[1], int)
        ):
            raise UserError(
                f"score.descriptor_weights: {weights} takes {entry.shape} and gives {result.shape}; "
                "needed: N x 3 x 112 x 112 (or 112 x 96) in, N x D out"
            )
        self._size, self.dimensions = sides, result.shape[1]
        digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:8]
        self.name = f"{Path(weights).stem} {digest} (licence: {licence or 'not stated'})"

    def describe(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """See `FaceDescriptor.describe`."""
        if np.isnan(landmarks).any():
            return np.full(self.dimensions, np.nan)
        face = aligned_face(image, landmarks, *self._size).astype(np.float32) / 127.5 - 1
        return self._session.run(None, {self._input: face.transpose(2, 0, 1)[None]})[0][0].astype(np.float64)

    def describe_all(self, faces: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """See `FaceDescriptor.describe_all`. One by one: a file may allow no other batches."""
        found = [self.describe(image, landmarks) for image, landmarks in faces]
        return np.stack(found) if found else np.empty((0, self.dimensions))


def face_chip(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cut the upright face as dlib's network was trained on: uint8 150 x 150 x 3.

    dlib fits a similarity from the 68 points to its mean face, whoever found the points, so no dlib shape predictor
    (whose weights may not be used commercially) is needed.

    Args:
        image: uint8 H x W x 3 RGB.
        landmarks: 68 x 2, px; pixel i covers [i, i + 1).
    """
    # dlib counts from the centre of the first pixel, ours from its edge; and its points are whole pixels, which at the
    # 256 px that faces are measured at moves the 68-point fit by far less than a pixel.
    dlib = _dlib()
    centred = np.rint(landmarks - 0.5).astype(int)
    points = [dlib.point(x, y) for x, y in centred.tolist()]
    (left, top), (right, bottom) = centred.min(axis=0).tolist(), centred.max(axis=0).tolist()
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), points)
    return dlib.get_face_chip(np.ascontiguousarray(image), shape, size=CHIP_SIZE, padding=0.25)


def aligned_face(image: np.ndarray, landmarks: np.ndarray, height: int = 112, width: int = 112) -> np.ndarray:
    """Cut the upright face as ArcFace networks are trained on: uint8 height x width x 3.

    The similarity that brings eyes (the mean of each eye's outline), nose tip and mouth corners closest to
    ARCFACE_POINTS.

    Args:
        image: uint8 H x W x 3 RGB.
        landmarks: 68 x 2, px; pixel i covers [i, i + 1).
    """
    centred = landmarks.astype(np.float64) - 0.5
    points = np.stack([centred[36:42].mean(axis=0), centred[42:48].mean(axis=0), centred[30], centred[48], centred[54]])
    ours, wanted = (p[:, 0] + 1j * p[:, 1] for p in (points, ARCFACE_POINTS - [(112 - width) / 2, 0]))
    factor = np.vdot(ours - ours.mean(), wanted - wanted.mean()) / np.vdot(ours - ours.mean(), ours - ours.mean()).real
    shift = wanted.mean() - factor * ours.mean()
    matrix = np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
    return cv2.warpAffine(np.ascontiguousarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR)


def _dlib() -> Any:
    """The package; imported only here, since it has no wheels for some systems."""
    try:
        import dlib
    except ImportError as error:
        raise UserError(
            f"score.descriptor: dlib needs the package dlib-bin ({error}); where it has no wheel, set "
            "score.descriptor: arcface and name an ONNX network in score.descriptor_weights"
        ) from None
    return dlib
