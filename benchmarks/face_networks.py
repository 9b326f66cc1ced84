"""mediapipe's networks as this package runs them, held against mediapipe's own classes.

    python benchmarks/face_networks.py record FILE MEDIA...     what mediapipe finds, for tests/fixtures
    python benchmarks/face_networks.py compare MEDIA...         both, on the same pictures
    python benchmarks/face_networks.py speed MEDIA              ms a picture of both, or of ours alone
    python benchmarks/face_networks.py record-blendshapes FILE MEDIA...      as the first two, of the face landmarker,
    python benchmarks/face_networks.py compare-blendshapes MEDIA...          whose bundle --bundle names

The first two need an environment of their own, of Python 3.11 or 3.12: this package, and then `pip install
mediapipe==0.10.21`, which brings numpy 1. Everything of mediapipe's is used as its manuals say.

Pictures are every so many frames of the media, as stage crop looks at them; with --hard each of them also turned by 30
degrees, small on a large canvas, twice side by side, and half out of the picture. Mattes are of what lies around the
first face.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from reenact.faces.blaze_face import BlazeFace, FaceBox
from reenact.faces.blendshapes import BLENDSHAPES, Expression, FaceLandmarker
from reenact.faces.detection import DETECT_SIDE
from reenact.faces.face import Face
from reenact.faces.face_mesh import FaceMesh
from reenact.faces.mediapipe_faces import far_confidence
from reenact.faces.square import box_square
from reenact.matting.selfie import Selfie
from reenact.media.probe import probe, read_frames
from reenact.settings.fetch import FACE_LANDMARKER

MIN_CONFIDENCE, MAX_FACES = 0.5, 8
FAR_CONFIDENCE = far_confidence(MIN_CONFIDENCE)  # which mediapipe's keeps whatever it is given


class Ours:
    """The networks as this package runs them."""

    def __init__(self) -> None:
        self.near, self.far = BlazeFace("near", MIN_CONFIDENCE), BlazeFace("far", FAR_CONFIDENCE)
        self.mesh = FaceMesh()
        self.landscape, self.general = Selfie(general=False), Selfie(general=True)

    def boxes(self, image: np.ndarray, far: bool) -> np.ndarray:
        """Confidence, box and eyes of each face: K x 9, px."""
        return _rows((self.far if far else self.near).find(image))

    def meshes(self, image: np.ndarray) -> np.ndarray:
        """Points of each face that the near detector finds: K x 478 x 2, px."""
        found = [self.mesh.look(image, box) for box in self.near.find(image)[:MAX_FACES]]
        return np.array([points for points in found if points is not None], np.float32).reshape(-1, 478, 2)

    def matte(self, image: np.ndarray, general: bool) -> np.ndarray:
        """float32, H x W."""
        return (self.general if general else self.landscape).matte(image)


class Mediapipes:
    """The same of mediapipe's classes."""

    def __init__(self, stack: ExitStack) -> None:
        from mediapipe.python.solutions.face_detection import FaceDetection
        from mediapipe.python.solutions.face_mesh import FaceMesh as Meshes
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        self._near, self._far = (stack.enter_context(FaceDetection(MIN_CONFIDENCE, model)) for model in (0, 1))
        self._meshes = stack.enter_context(
            Meshes(static_image_mode=True, max_num_faces=MAX_FACES, refine_landmarks=True)
        )
        self._general, self._landscape = (stack.enter_context(SelfieSegmentation(model)) for model in (0, 1))

    def boxes(self, image: np.ndarray, far: bool) -> np.ndarray:
        """See `Ours.boxes`."""
        height, width = image.shape[:2]
        found = []
        for detection in (self._far if far else self._near).process(image).detections or []:
            box, points = detection.location_data.relative_bounding_box, detection.location_data.relative_keypoints[:2]
            corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
            eyes = np.array([(point.x, point.y) for point in points])
            found.append(FaceBox(detection.score[0], corners * np.tile([width, height], 2), eyes * [width, height]))
        return _rows(found)

    def meshes(self, image: np.ndarray) -> np.ndarray:
        """See `Ours.meshes`."""
        found = self._meshes.process(image).multi_face_landmarks or []
        points = np.array([[(point.x, point.y) for point in face.landmark] for face in found]).reshape(-1, 478, 2)
        return (points * image.shape[1::-1]).astype(np.float32)

    def matte(self, image: np.ndarray, general: bool) -> np.ndarray:
        """See `Ours.matte`."""
        return np.array((self._general if general else self._landscape).process(image).segmentation_mask, np.float32)


def _rows(faces: list[FaceBox]) -> np.ndarray:
    return np.array([(face.confidence, *face.box, *face.eyes.ravel()) for face in faces], np.float32).reshape(-1, 9)


def pictures(media: list[Path], every: int, hard: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Name and pixels (uint8 RGB) of the pictures of some media; see above."""
    for file in media:
        for number, frame in enumerate(read_frames(probe(file))):
            if number % every == 0:
                image = frame.pixels(DETECT_SIDE)
                yield f"{file.name} {number}", image
                if hard:
                    yield from ((f"{file.name} {number} {name}", made) for name, made in _harder(image).items())


def _harder(image: np.ndarray) -> dict[str, np.ndarray]:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 30, 1)
    small = cv2.resize(image, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    far = np.full_like(image, 90)
    far[height // 8 : height // 8 + small.shape[0], width // 2 : width // 2 + small.shape[1]] = small
    return {
        "turned": cv2.warpAffine(image, turn, (width, height)),
        "small": far,
        "twice": np.concatenate([image, image[:, ::-1]], axis=1),
        "cut off": np.ascontiguousarray(image[:, width // 2 :]),
    }


def head_of(image: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """What lies around a face, uint8: whole pixels as they are, since a matte may hang on a single one."""
    square = box_square(Face(mesh, 1.0).box, 1.8)
    left, top = (max(0, round(corner)) for corner in (square.left, square.top))
    side = round(square.side)
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def record(file: Path, media: list[Path], every: int, hard: bool) -> None:
    """Write what mediapipe finds, by picture: boxes `near` and `far`, `mesh`es, and mattes where it is not hard."""
    values: dict[str, Any] = {}
    with ExitStack() as stack:
        theirs = Mediapipes(stack)
        for name, image in pictures(media, every, hard):
            values |= {f"{name}/{kind}": theirs.boxes(image, kind == "far") for kind in ("near", "far")}
            values[f"{name}/mesh"] = theirs.meshes(image)
            if len(values[f"{name}/mesh"]) and name.count(" ") == 1:
                head = head_of(image, values[f"{name}/mesh"][0])
                for general, kind in ((False, "landscape"), (True, "general")):
                    values[f"{name}/{kind}"] = theirs.matte(head, general).astype(np.float16)
    np.savez_compressed(file, **values)
    print(f"{file}: {len(values)} arrays, {file.stat().st_size / 1000:.0f} kB")


def compare(media: list[Path], every: int, hard: bool) -> None:
    """Print how far ours and mediapipe's are apart."""
    counts = {"pictures": 0, "faces": 0, "near": 0, "far": 0}
    differ: list[str] = []
    points: list[float] = []
    boxes: list[float] = []
    scores: list[float] = []
    mattes: dict[str, list[tuple[float, float]]] = {"landscape": [], "general": []}
    with ExitStack() as stack:
        ours, theirs = Ours(), Mediapipes(stack)
        for name, image in pictures(media, every, hard):
            counts["pictures"] += 1
            for kind in ("near", "far"):
                mine, other = ours.boxes(image, kind == "far"), theirs.boxes(image, kind == "far")
                counts[kind] += len(other)
                if len(mine) != len(other):
                    differ.append(f"{name}: {kind} {len(mine)} instead of {len(other)}")
                elif len(mine):
                    scores.append(float(np.abs(mine - other)[:, 0].max()))
                    boxes.append(float(np.abs(mine - other)[:, 1:].max()))
            meshes, known = ours.meshes(image), theirs.meshes(image)
            counts["faces"] += len(known)
            if len(meshes) != len(known):
                differ.append(f"{name}: {len(meshes)} meshes instead of {len(known)}")
            elif len(known):
                points.append(float(np.linalg.norm(meshes - known, axis=-1).max()))
            if len(known):
                head = head_of(image, known[0])
                for general, kind in ((False, "landscape"), (True, "general")):
                    a, b = ours.matte(head, general), theirs.matte(head, general)
                    both, either = ((a > 0.5) & (b > 0.5)).sum(), ((a > 0.5) | (b > 0.5)).sum()
                    mattes[kind].append((float(np.abs(a - b).max()), float(both / max(1, either)) if either else 1.0))
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    print(f"counts differ: {len(differ)}", *differ[:20], sep="\n  ")
    print(f"landmarks, px: worst {max(points):.4f}, mean of the worst of each picture {np.mean(points):.4f}")
    print(f"boxes, px: worst {max(boxes):.4f}; confidence: worst {max(scores):.1e}")
    for kind, values in mattes.items():
        worst, overlap = np.array(values).T
        print(f"mattes, {kind}: worst difference {worst.max():.1e}, lowest IoU {overlap.min():.6f}")


def landmarker(bundle: Path) -> Callable[[np.ndarray], Expression | None]:
    """mediapipe's face landmarker: the expression of the first face in a picture, as ours gives it."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import FaceLandmarker as Landmarker
    from mediapipe.tasks.python.vision import FaceLandmarkerOptions

    base = BaseOptions(model_asset_path=str(bundle))
    theirs = Landmarker.create_from_options(FaceLandmarkerOptions(base_options=base, output_face_blendshapes=True))

    def read(image: np.ndarray) -> Expression | None:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        found, (height, width) = theirs.detect(picture), image.shape[:2]
        if not found.face_blendshapes:
            return None
        points = [(point.x * width, point.y * height, point.z * width) for point in found.face_landmarks[0]]
        scores = {category.category_name: category.score for category in found.face_blendshapes[0]}
        return Expression(np.array(points, np.float32), np.array([scores[name] for name in BLENDSHAPES], np.float32))

    return read


def record_blendshapes(file: Path, bundle: Path, media: list[Path], every: int, hard: bool) -> None:
    """Write what mediapipe's face landmarker finds, by picture: `points` and `blendshapes`."""
    theirs = landmarker(bundle)
    values: dict[str, Any] = {}
    for name, image in pictures(media, every, hard):
        if expression := theirs(image):
            values[f"{name}/points"], values[f"{name}/blendshapes"] = expression.points, expression.blendshapes
    np.savez_compressed(file, **values)
    print(f"{file}: {len(values)} arrays, {file.stat().st_size / 1000:.0f} kB")


def compare_blendshapes(bundle: Path, media: list[Path], every: int, hard: bool) -> None:
    """Print how far the face landmarker's numbers and ours are apart."""
    ours, theirs, alone = FaceLandmarker(bundle), landmarker(bundle), 0
    shapes: list[np.ndarray] = []
    points: list[np.ndarray] = []
    for _, image in pictures(media, every, hard):
        mine, other = ours.read(image), theirs(image)
        if mine and other:
            shapes.append(np.abs(mine.blendshapes - other.blendshapes))
            points.append(np.abs(mine.points - other.points)[:, :2])
        alone += (mine is None) != (other is None)
    each, worst = np.mean(shapes, axis=0), np.max(shapes, axis=0)
    print(f"{len(shapes)} faces; found by one only: {alone}")
    print(f"blendshapes: mean difference {each.mean():.1e}; of one at most {each.max():.1e} in the mean", end="")
    print(f", {worst.max():.3f} ({BLENDSHAPES[int(worst.argmax())]}) at worst")
    print(f"points, px: mean {np.mean(points):.4f}, worst {np.max(points):.4f}")


def speed(media: list[Path], every: int, rounds: int = 3) -> None:
    """Print ms a picture, time of cores, the median of all pictures and rounds."""
    cv2.setNumThreads(1)
    images = [image for _, image in pictures(media, every, False)]
    with ExitStack() as stack:
        kinds: dict[str, Any] = {"ours": Ours()}
        try:
            kinds["mediapipe"] = Mediapipes(stack)
        except ImportError:
            print("mediapipe is not installed: ours alone")
        heads = [head_of(image, kinds["ours"].meshes(image)[0]) for image in images]
        work: dict[str, tuple[list[np.ndarray], Callable[[Any, np.ndarray], object]]] = {
            "near detector": (images, lambda networks, image: networks.boxes(image, False)),
            "far detector": (images, lambda networks, image: networks.boxes(image, True)),
            "near detector and mesh": (images, lambda networks, image: networks.meshes(image)),
            "matte, landscape": (heads, lambda networks, image: networks.matte(image, False)),
            "matte, general": (heads, lambda networks, image: networks.matte(image, True)),
        }
        print(f"{len(images)} pictures, ms of cores; load {os.getloadavg()[0]:.1f}")
        for name, (shown, step) in work.items():
            taken: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(rounds):
                for image in shown:  # they take turns, so that what else the machine does disturbs both
                    for kind, networks in kinds.items():
                        start = time.process_time()
                        step(networks, image)
                        taken[kind].append(1000 * (time.process_time() - start))
            print(f"{name:24s}" + ", ".join(f"{kind} {np.median(times):.2f}" for kind, times in taken.items()))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("record", "compare", "speed", "record-blendshapes", "compare-blendshapes")
    parser.add_argument("what", choices=kinds)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1, help="every so many frames (default: 1)")
    parser.add_argument("--hard", action="store_true", help="harder pictures, too")
    bundle = Path("resources") / FACE_LANDMARKER
    parser.add_argument("--bundle", type=Path, default=bundle, help="face_landmarker_v2.task")
    arguments = parser.parse_args()
    if arguments.what == "record":
        record(arguments.files[0], arguments.files[1:], arguments.every, arguments.hard)
    elif arguments.what == "compare":
        compare(arguments.files, arguments.every, arguments.hard)
    elif arguments.what == "speed":
        speed(arguments.files, arguments.every)
    elif arguments.what == "record-blendshapes":
        first, *media = arguments.files
        record_blendshapes(first, arguments.bundle, media, arguments.every, arguments.hard)
    else:
        compare_blendshapes(arguments.bundle, arguments.files, arguments.every, arguments.hard)


if __name__ == "__main__":
    main()
