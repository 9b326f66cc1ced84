"""The package face-alignment behind the interface of detectors: its networks with random weights, and stand-ins."""

from urllib.error import URLError

import numpy as np
import pytest

from reenact.faces.detectors import open_detectors
from reenact.faces.face_alignment_faces import FaceAlignmentFinder, read_peaks
from reenact.media.probe import probe, read_frames
from reenact.runtime.errors import UserError
from reenact.settings.crop import CropSettings, FaceAlignmentSettings


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with random weights of S3FD and 3DFAN in the layout, and under the names, of the real ones."""
    import torch
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    with torch.device("meta"):
        nets = {"s3fd-619a316812.pth": s3fd(), "3DFAN4-7835d9f11d.pth.tar": FAN(4)}
    for name, net in nets.items():
        # Half precision: the files are a quarter of a gigabyte otherwise.
        filled = {
            key: torch.zeros(v.shape, dtype=v.dtype) if v.ndim < 2 else torch.randn(v.shape, dtype=torch.half) / 100
            for key, v in net.state_dict().items()
        }
        torch.save(filled, folder / name)
    return folder


class Heads:
    """Stands for one of the package's detectors: finds the boxes it was told, and notes what it was given."""

    reference_scale = 195

    def __init__(self, boxes):
        self.boxes, self.given = boxes, []

    def detect_from_batch(self, batch):
        self.given.append(batch)
        return [list(boxes) for boxes in self.boxes[: len(batch)]]

    def detect_from_image(self, image):
        return self.detect_from_batch(image[None])[0]


class Brightest:
    """Stands for 3DFAN: every landmark is where its 256 px window is brightest."""

    def __init__(self):
        self.sizes = []

    def __call__(self, windows):
        from torch.nn import functional

        self.sizes.append(len(windows))
        return functional.avg_pool2d(windows.mean(dim=1, keepdim=True), 4).expand(-1, 68, -1, -1)


def finder(boxes, **settings):
    """A finder without networks."""
    from reenact.faces.face_alignment_faces import _DETECTORS

    made = FaceAlignmentFinder.__new__(FaceAlignmentFinder)
    made.batch, made._device, made._kind, made._min_confidence = (
        settings.get("batch_size", 8),
        "cpu",
        _DETECTORS["sfd"],
        0.5,
    )
    made._boxes, made._landmarks = Heads(boxes), Brightest()
    return made


def spot(x, y, height=200, width=300):
    rows, columns = np.mgrid[:height, :width] + 0.5
    bright = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 32)
    return np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)


def test_coordinates_of_boxes_and_landmarks():
    boxes = [[[100, 50, 180, 150, 0.9], [10, 10, 30, 30, 0.6], [0, 0, 20, 20, 0.3]], []]
    faces = finder(boxes).find_all([spot(137, 96), spot(20, 20)])
    assert [len(found) for found in faces] == [2, 0]
    large = faces[0][0]
    np.testing.assert_array_equal(large.box, [100, 50, 180, 150])
    assert large.confidence == pytest.approx(0.9) and large.landmarks.shape == (68, 2)
    # The window has 200 x (80 + 100) / 195 = 185 px, a cell of the heatmap 2.9 px: precise to a quarter of a cell.
    np.testing.assert_allclose(large.landmarks[30], [137, 96], atol=0.8)
    twice = large.moved(2, 5, 6)
    np.testing.assert_allclose(twice.box, [205, 106, 365, 306])
    np.testing.assert_allclose(twice.landmarks, large.landmarks * 2 + [5, 6], rtol=1e-5)


def test_a_face_at_the_border_of_the_picture():
    (found,) = finder([[[-20, -30, 60, 70, 0.9]]]).find_all([spot(25, 14)])
    np.testing.assert_allclose(found[0].landmarks[0], [25, 14], atol=0.8)


def test_batches():
    images = [spot(100, 100)] * 5
    many = finder([[[80, 80, 120, 120, 0.9]]] * 5, batch_size=2)
    assert [len(found) for found in many.find_all(images)] == [1] * 5
    assert [len(batch) for batch in many._boxes.given] == [2, 2, 1] and many._landmarks.sizes == [2, 2, 1]
    assert many._boxes.given[0].shape == (2, 3, 200, 300) and many._boxes.given[0].max() > 250
    mixed = finder([[[80, 80, 120, 120, 0.9]]])
    assert [len(found) for found in mixed.find_all([spot(100, 100), spot(100, 100, 220, 310)])] == [1, 1]


def test_peaks_between_cells():
    heat = np.zeros((1, 68, 64, 64), np.float32)
    heat[0, :, 10, 20], heat[0, :, 10, 21], heat[0, :, 9, 20] = 1, 0.5, 0.4
    heat[0, 5] = 0
    heat[0, 5, 0, 63] = 1
    peaks = read_peaks(heat)
    np.testing.assert_allclose(peaks[0, 0], [20.75, 10.25])
    assert (peaks[0, 5] > [62, 0]).all() and (peaks[0, 5] < [64, 1]).all()


def test_real_networks_load_from_a_folder(weights):
    settings = CropSettings(
        min_confidence=0.6, detector="face-alignment", face_alignment={"weights": str(weights), "batch_size": 2}
    )
    with open_detectors(settings, "cpu", 2) as detectors:
        (one,) = detectors
        assert one.batch == 2
        assert one.find_all([spot(40, 40, 96, 96)] * 2) == [[], []]  # with random weights, nothing is above 0.5
        # The landmark network gets a window of a face and gives points inside of it.
        (points,) = one._find_landmarks([(spot(40, 40, 96, 96), np.array([20, 20, 70, 80, 0.9]))])
    assert points.shape == (68, 2) and (points > -20).all() and (points < 130).all()


def test_dlib_needs_no_weights_of_its_own(weights, demo_media):
    image = next(read_frames(probe(demo_media("astronaut.png")))).pixels()[:260, 90:350]
    with pytest.warns(UserWarning, match="deprecated"):
        found = FaceAlignmentFinder(FaceAlignmentSettings(boxes="dlib", weights=str(weights)))
    ((face,),) = found.find_all([image])
    # The astronaut's face, from eyebrows to chin.
    np.testing.assert_allclose(face.box, [87, 75, 180, 180], atol=20)
    assert face.confidence == 1


def test_missing_and_wrong_weights_are_named(tmp_path, weights):
    (tmp_path / "other.pth").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"crop\.face_alignment\.weights: s3fd-619a316812\.pth is not in .*it has: other\.pth"
    ):
        FaceAlignmentFinder(FaceAlignmentSettings(weights=str(tmp_path)))
    with pytest.raises(UserError, match="no such folder"):
        FaceAlignmentFinder(FaceAlignmentSettings(weights=str(tmp_path / "nowhere")))
    (tmp_path / "s3fd-619a316812.pth").write_bytes((weights / "s3fd-619a316812.pth").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"crop\.face_alignment\.weights: s3fd-619a316812\.pth in .* cannot be loaded"):
        FaceAlignmentFinder(FaceAlignmentSettings(weights=str(tmp_path)))


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    from face_alignment.detection.sfd import sfd_detector

    def fail(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(sfd_detector, "load_state_dict_from_url", fail)
    with pytest.raises(UserError) as error:
        FaceAlignmentFinder(FaceAlignmentSettings())
    message = str(error.value)
    assert message.startswith("https://") and "no route to host" in message and len(message.splitlines()) == 1
    assert "s3fd-619a316812.pth" in message and "crop.face_alignment.weights" in message and "crop.detector" in message
