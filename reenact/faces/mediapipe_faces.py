"""Faces in a picture: mediapipe's face mesh, its box, and the 68 landmarks of iBUG taken from it.

Every picture is looked at by itself (mediapipe's "static" mode): results do not depend on the frames before, a
scene cut cannot drag a mesh along, and several faces cost nothing extra. It is 1 to 3 ms a frame slower than its
tracking mode, which would run the detector on most frames anyway as soon as a second face is allowed.
"""

from pathlib import Path
from types import TracebackType
from typing import Any

from reenact.faces.face import Face, box_area, box_iou
from reenact.runtime.quiet import quiet_stderr

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

# Paths of graphs begin with the name of the package.
_SITE = Path(mediapipe.__file__).parents[1]
MESH_POINTS = 478
# Networks are loaded, and print, when they see their first picture.
_BLANK = np.zeros((192, 192, 3), np.uint8)
# The near detector loses faces from about a sixth of the picture's height downwards, so it is not relied on below this.
_SMALL = 0.25
# Detector boxes are tight; the mesh wants to see some of the surroundings (mediapipe itself uses x 1.5).
_CONTEXT = 2.5


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
        return sorted(faces, key=lambda face: -box_area(face.box))

    def _find_near(self, image: np.ndarray) -> list[Face]:
        meshes, found = self._run_mesh(image)
        height, width = image.shape[:2]
        detections = [_detection_box(detection, width, height) for detection in found]
        scores = [detection.score[0] for detection in found]
        faces = []
        for mesh in meshes:
            points = _points(mesh) * np.array([width, height], np.float32)
            face = Face(points, 0.0)
            overlaps = [box_iou(face.box, box) for box in detections]
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

    mediapipe's own threads hand the parts of a graph to each other, from one core's cache to another's: the same
    results, a tenth later.
    """

    def __init__(self, binary_graph_path: str, **more: Any) -> None:
        """Load a graph by its path within the package mediapipe; `more`: see SolutionBase."""
        config = CalculatorGraphConfig()
        config.ParseFromString((_SITE / binary_graph_path).read_bytes())
        config.executor.add(type="ApplicationThreadExecutor")
        super().__init__(graph_config=config, **more)

    def run(self, image: np.ndarray) -> dict[str, Any]:
        """What the graph finds in a picture (uint8 RGB, H x W x 3): packets by name, empty ones left out.

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
    # Of each landmark there is a tag and a length, and x, y, z with a tag each. Reading them one by one takes ten
    # times as long.
    data = np.frombuffer(mesh, np.uint8)
    if len(data) == 17 * MESH_POINTS:
        rows = data.reshape(MESH_POINTS, 17)
        if (rows[:, [0, 1, 2, 7, 12]] == (0x0A, 15, 0x0D, 0x15, 0x1D)).all():
            return np.stack(
                [np.ascontiguousarray(rows[:, first : first + 4]).view("<f4")[:, 0] for first in (3, 8)], axis=1
            )
    return np.array([(point.x, point.y) for point in NormalizedLandmarkList.FromString(mesh).landmark], np.float32)


def _detection_box(detection: Any, width: int, height: int) -> np.ndarray:
    box = detection.location_data.relative_bounding_box
    return np.array(
        [box.xmin * width, box.ymin * height, (box.xmin + box.width) * width, (box.ymin + box.height) * height]
    )


def _without_doubles(faces: list[Face]) -> list[Face]:
    """Two detections of one face end in (nearly) the same mesh; the one that is listed first stays."""
    kept: list[Face] = []
    for face in faces:
        if all(box_iou(face.box, other.box) < 0.5 for other in kept):
            kept.append(face)
    return kept
