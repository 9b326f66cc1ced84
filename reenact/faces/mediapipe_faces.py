"""Faces in a picture: mediapipe's face mesh, its box, and the 68 landmarks of iBUG taken from it.

Every picture is looked at by itself (mediapipe's "static" mode): results do not depend on the frames before, a
scene cut cannot drag a mesh along, and several faces cost nothing extra. It is 1 to 3 ms a frame slower than its
tracking mode, which would run the detector on most frames anyway as soon as a second face is allowed.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "2")  # read by mediapipe's C++ part when it is loaded


class _StandardError:
    """Standard error belongs to the whole process: it is turned aside as long as any thread wants it to be."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted = 0

    def turn_aside(self) -> None:
        """Into a file, until everybody has given it back."""
        with self._lock:
            if not self._wanted:
                self._held, self._own = tempfile.TemporaryFile(), os.dup(2)
                os.dup2(self._held.fileno(), 2)
            self._wanted += 1

    def give_back(self, show: bool) -> None:
        """One thread less wants it turned aside; `show` what was held back."""
        with self._lock:
            if show:
                self._held.seek(0)
                os.write(self._own, self._held.read())
            self._wanted -= 1
            if not self._wanted:
                os.dup2(self._own, 2)
                os.close(self._own)
                self._held.close()


_STDERR = _StandardError()


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C++ libraries print to standard error; it is shown after all if an exception passes."""
    _STDERR.turn_aside()
    failed = True
    try:
        yield
        failed = False
    finally:
        _STDERR.give_back(show=failed)


with quiet_stderr():
    import cv2
    import mediapipe
    import numpy as np
    from mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
    from mediapipe.framework.formats.detection_pb2 import Detection
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList
    from mediapipe.python._framework_bindings import _packet_getter as packet_getter
    from mediapipe.python.solution_base import SolutionBase
    from mediapipe.python.solutions import face_detection, face_mesh

# Point of the 478-point mesh that stands for each of the 68 landmarks of iBUG, in their order. The jaw: from the ear
# at eye level over the chin to the other ear, those points of the mesh's face oval that are spaced most evenly.
_JAW = (127, 234, 93, 132, 172, 136, 149, 176, 152, 400, 378, 365, 397, 361, 323, 454, 356)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = (168, 197, 5, 4, 98, 97, 2, 326, 327)
_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
_INNER_LIPS = (78, 82, 13, 312, 308, 317, 14, 87)
IBUG_68 = np.array(_JAW + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS)

# Paths of graphs begin with the name of the package.
_SITE = Path(mediapipe.__file__).parents[1]
MESH_POINTS = 478
# Networks are loaded, and print, when they see their first picture.
_BLANK = np.zeros((192, 192, 3), np.uint8)
# S3FD's boxes, as the data it learned from, reach up to the hairline; the mesh ends a little below it.
_FOREHEAD = 0.08
# The near detector loses faces from about a sixth of the picture's height downwards, so it is not relied on below this.
_SMALL = 0.25
# Detector boxes are tight; the mesh wants to see some of the surroundings (mediapipe itself uses x 1.5).
_CONTEXT = 2.5


# Rigid ones of the 68 landmarks, and where they lie in a head that looks straight ahead: x to the picture's right, y down,
# z away from the camera, in units of the landmarks' spread. The mean, mirrored and aligned, of 111 meshes of mediapipe
# from the demo's three people.
_RIGID = (27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45, 48, 54, 0, 16, 8)
_STRAIGHT_HEAD = np.array(
    [
        (0.0, -0.715, -0.202),
        (0.0, -0.492, -0.401),
        (0.0, -0.293, -0.629),
        (0.0, -0.16, -0.69),
        (-0.319, 0.045, -0.29),
        (0.0, 0.076, -0.434),
        (0.319, 0.045, -0.29),
        (-0.773, -0.586, 0.156),
        (-0.304, -0.59, 0.067),
        (0.304, -0.59, 0.067),
        (0.773, -0.586, 0.156),
        (-0.492, 0.461, -0.09),
        (0.492, 0.461, -0.09),
        (-1.137, -0.45, 0.967),
        (1.137, -0.45, 0.967),
        (0.0, 1.291, -0.202),
    ]
)
_STRAIGHT_HEAD -= _STRAIGHT_HEAD.mean(axis=0)
_FIT = np.linalg.pinv(_STRAIGHT_HEAD)


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    Coordinates are continuous: pixel i covers [i, i + 1), so the centre of the first pixel is 0.5.

    Attributes:
        points: 478 x 2 (mediapipe's face mesh with irises) or 68 x 2 (the landmarks of iBUG), float32 (x, y), px.
        confidence: of the detector, 0 to 1.
        stated_box: left, top, right, bottom (px) as the detector says; None = the extent of the mesh.
    """

    points: np.ndarray
    confidence: float
    stated_box: np.ndarray | None = None

    @cached_property
    def box(self) -> np.ndarray:
        """Left, top, right, bottom (float64, px): hairline to chin and ear to ear, the extent of S3FD's boxes."""
        if self.stated_box is not None:
            return np.asarray(self.stated_box, np.float64)
        left, top = self.points.min(axis=0)
        right, bottom = self.points.max(axis=0)
        return np.array([left, top - _FOREHEAD * (bottom - top), right, bottom], np.float64)

    @property
    def landmarks(self) -> np.ndarray:
        """The 68 landmarks of iBUG, 68 x 2 float32 (x, y), px."""
        return self.points if len(self.points) == 68 else self.points[IBUG_68]

    def moved(self, scale: float, x: float = 0.0, y: float = 0.0) -> "Face":
        """The same face in a picture where every coordinate is multiplied by `scale` and then shifted by x, y."""
        box = None if self.stated_box is None else self.stated_box * scale + [x, y, x, y]
        return Face(self.points * np.float32(scale) + np.float32([x, y]), self.confidence, box)


def head_angles(landmarks: np.ndarray) -> np.ndarray:
    """Which way a head is turned: yaw, pitch and roll in degrees, float64.

    The rigid landmarks are fitted by a straight head, rotated and scaled, in parallel projection: the least squares
    solution, and the rotation nearest to it. On the demo's clips it differs by 0.8, 1.2 and 0.1 degrees in the
    mean from the rotation of mediapipe's three-dimensional mesh.

    Args:
        landmarks: ... x 68 x 2.

    Returns:
        ... x 3. yaw: positive where the nose points to the picture's right; pitch: positive where it points up; roll: positive
        where the head leans to the picture's right, clockwise.
    """
    points = np.asarray(landmarks, np.float64)[..., list(_RIGID), :]
    projection = np.swapaxes(_FIT @ (points - points.mean(axis=-2, keepdims=True)), -1, -2)
    left, _, right = np.linalg.svd(projection, full_matrices=False)
    turned = left @ right
    across, down = turned[..., 0, :], turned[..., 1, :]
    away = np.cross(across, down)
    roll = np.arctan2(down[..., 0], across[..., 0])
    # Where the nose points once the head no longer leans.
    aside = np.cos(roll) * across[..., 2] + np.sin(roll) * down[..., 2]
    up = np.cos(roll) * down[..., 2] - np.sin(roll) * across[..., 2]
    yaw, pitch = np.arctan2(-aside, away[..., 2]), np.arcsin(np.clip(up, -1, 1))
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))


class FaceFinder:
    """Finds the faces of single pictures. Use it as a context manager; one finder serves any number of pictures.

    Small faces are found by a second, long-distance detector, which is asked only where the first finds no large one.
    """

    batch = 4

    def __init__(self, *, max_faces: int = 8, min_confidence: float = 0.5) -> None:
        """Load the networks (they are part of the mediapipe package).

        Args:
            max_faces: most faces in one picture.
            min_confidence: least confidence of a detection, 0 to 1.
        """
        with quiet_stderr():
            self._mesh = _Mesh(max_faces, min_confidence)
            self._mesh.run(_BLANK)
        self._min_confidence = min_confidence
        self._far: face_detection.FaceDetection | None = None
        self._warned = False

    def __enter__(self) -> "FaceFinder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks."""
        self._mesh.close()
        if self._far is not None:
            self._far.close()

    def find_all(self, images: list[np.ndarray]) -> list[list[Face]]:
        """`find` for several pictures."""
        return [self.find(image) for image in images]

    def find(self, image: np.ndarray) -> list[Face]:
        """The faces in a picture (uint8 RGB, H x W x 3, any size), larger ones first; empty if there is none."""
        faces = self._find_near(image)
        if all(face.box[3] - face.box[1] < _SMALL * min(image.shape[:2]) for face in faces):
            faces = _without_doubles(self._find_far(image) + faces)
        return sorted(faces, key=lambda face: -_area(face.box))

    def _find_near(self, image: np.ndarray) -> list[Face]:
        meshes, found = self._run_mesh(image)
        height, width = image.shape[:2]
        detections = [_detection_box(detection, width, height) for detection in found]
        scores = [detection.score[0] for detection in found]
        faces = []
        for mesh in meshes:
            points = _points(mesh) * np.float32([width, height])
            face = Face(points, 0.0)
            overlaps = [overlap(face.box, box) for box in detections]
            # The graph gives meshes and detections as separate lists; a mesh belongs to the detection it covers.
            score = scores[int(np.argmax(overlaps))] if overlaps else 0.0
            faces.append(Face(points, float(score)))
        return _without_doubles(sorted(faces, key=lambda face: -face.confidence))

    def _find_far(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        faces = []
        if self._far is None:
            with quiet_stderr():
                self._far = face_detection.FaceDetection(self._min_confidence, model_selection=1)
                self._far.process(_BLANK)
        for detection in self._far.process(image).detections or []:
            left, top, right, bottom = _detection_box(detection, width, height)
            side = max(right - left, bottom - top) * _CONTEXT
            x, y = (left + right - side) / 2, (top + bottom - side) / 2
            size = 256
            to_window = np.array([[size / side, 0, -x * size / side], [0, size / side, -y * size / side]])
            window = cv2.warpAffine(
                image, to_window, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            faces += [
                Face(face.moved(side / size, x, y).points, min(face.confidence, float(detection.score[0])))
                for face in self._find_near(window)[:1]
            ]
        return _without_doubles(sorted(faces, key=lambda face: -face.confidence))

    def _run_mesh(self, image: np.ndarray) -> tuple[list[bytes], list[Detection]]:
        if self._warned:
            return self._mesh.look(image)
        # The mesh network is loaded, and prints, when the first face is seen.
        with quiet_stderr():
            meshes, detections = self._mesh.look(image)
        self._warned = bool(meshes)
        return meshes, detections


class Graph(SolutionBase):
    """A graph of mediapipe that takes one picture at a time, and works in the thread that asks.

    mediapipe's own threads hand the parts of a graph to each other, from one core's cache to another's: the same results,
    a tenth later.
    """

    def __init__(self, binary_graph_path: str, **more: Any) -> None:
        """Load a graph by its path within the package mediapipe; `more`: see SolutionBase."""
        config = CalculatorGraphConfig()
        config.ParseFromString((_SITE / binary_graph_path).read_bytes())
        config.executor.add(type="ApplicationThreadExecutor")
        super().__init__(graph_config=config, **more)

    def run(self, image: np.ndarray) -> dict[str, Any]:
        """What the graph says about a picture (uint8 RGB, H x W x 3): packets by name; those that are missing say nothing.

        As `process` does, without making a new class for every result, and objects of everything in it.
        """
        self._graph_outputs.clear()
        self._simulated_timestamp += 33333  # us
        packet = self._make_packet(self._input_stream_type_info["image"], np.ascontiguousarray(image))
        self._graph.add_packet_to_input_stream(stream="image", packet=packet.at(self._simulated_timestamp))
        self._graph.wait_until_idle()
        return {name: packet for name, packet in self._graph_outputs.items() if not packet.is_empty()}


class _Mesh(Graph):
    """mediapipe's FaceMesh in static mode, which gives its detections (and so their confidence) besides the meshes."""

    def __init__(self, max_faces: int, min_confidence: float) -> None:
        super().__init__(
            face_mesh._BINARYPB_FILE_PATH,
            side_inputs={"num_faces": max_faces, "with_attention": True, "use_prev_landmarks": False},
            calculator_params={
                "facedetectionshortrangecpu__facedetectionshortrange__facedetection"
                "__TensorsToDetectionsCalculator.min_score_thresh": min_confidence,
                "facelandmarkcpu__ThresholdingCalculator.threshold": 0.5,
            },
            outputs=["multi_face_landmarks", "face_detections"],
        )

    def look(self, image: np.ndarray) -> tuple[list[bytes], list[Detection]]:
        """The meshes in a picture, as protobuf writes them, and the detections."""
        found = self.run(image)
        meshes, detections = (
            packet_getter._get_serialized_proto_list(found[name]) if name in found else []
            for name in ("multi_face_landmarks", "face_detections")
        )
        return meshes, [Detection.FromString(data) for data in detections]


def _points(mesh: bytes) -> np.ndarray:
    """x and y of a mesh's landmarks (shares of the picture), float32, 478 x 2."""
    # Of each landmark there is a tag and a length, and x, y, z with a tag each. Reading them one by one takes ten times as long.
    data = np.frombuffer(mesh, np.uint8)
    if len(data) == 17 * MESH_POINTS:
        rows = data.reshape(MESH_POINTS, 17)
        if (rows[:, [0, 1, 2, 7, 12]] == (0x0A, 15, 0x0D, 0x15, 0x1D)).all():
            return np.stack(
                [np.ascontiguousarray(rows[:, first : first + 4]).view("<f4")[:, 0] for first in (3, 8)], axis=1
            )
    return np.array([(point.x, point.y) for point in NormalizedLandmarkList.FromString(mesh).landmark], np.float32)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom), 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / (_area(a) + _area(b) - shared))


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _detection_box(detection: Any, width: int, height: int) -> np.ndarray:
    box = detection.location_data.relative_bounding_box
    return np.array(
        [box.xmin * width, box.ymin * height, (box.xmin + box.width) * width, (box.ymin + box.height) * height]
    )


def _without_doubles(faces: list[Face]) -> list[Face]:
    """Two detections of one face end in (nearly) the same mesh; the one that is listed first stays."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) < 0.5 for other in kept):
            kept.append(face)
    return kept
