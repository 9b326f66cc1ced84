"""The face descriptor on a real face."""

from pathlib import Path

import dlib
import numpy as np
import pytest
import torch
from person_clips import WEIGHTS, portrait

from reenact.evaluation.descriptor import (
    ARCFACE_POINTS,
    AT_ONCE,
    CHIP_SIZE,
    DlibDescriptor,
    aligned_face,
    face_chip,
    load_descriptor,
)
from reenact.evaluation.dlib_network import DlibNetwork
from reenact.evaluation.metrics import identity_error
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.runtime.errors import UserError

needs_weights = pytest.mark.usefixtures("descriptor_weights")


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    with FaceFinder() as finder:
        yield finder


def test_chip_is_upright_whatever_the_turn(finder: FaceFinder) -> None:
    chips = []
    for turn in (0, 20):
        image = portrait(turn=turn)
        chips.append(face_chip(image, finder.find(image)[0].landmarks).astype(float))
    assert chips[0].shape == (CHIP_SIZE, CHIP_SIZE, 3)
    middle = slice(40, 110)
    difference = np.abs(chips[0] - chips[1])[middle, middle].mean()
    assert difference < 15, "the same pixels but for resampling and landmark noise"
    eyes = [finder.find(chip.astype(np.uint8))[0].landmarks[[36, 45]] for chip in chips]
    for left, right in eyes:
        assert abs(left[1] - right[1]) < 6


@needs_weights
def test_same_person_near_and_a_blank_far(finder: FaceFinder) -> None:
    descriptor = load_descriptor("dlib", WEIGHTS)
    assert descriptor.name == "dlib ResNet-29 v1 (public domain)"
    images = [portrait(), portrait(turn=10, x=0.03, scale=0.9)]
    descriptors = np.array([descriptor.describe(image, finder.find(image)[0].landmarks) for image in images])
    assert descriptors.shape == (2, DlibDescriptor.dimensions)
    assert identity_error(descriptors[:1], descriptors[1:]) < 0.04
    landmarks = finder.find(images[0])[0].landmarks
    blank = descriptor.describe(np.full_like(images[0], 128), landmarks)
    assert identity_error(blank[None], descriptors) > 0.1
    assert np.isnan(descriptor.describe(images[0], np.full((68, 2), np.nan))).all()


@needs_weights
def test_describes_as_dlib_does(finder: FaceFinder) -> None:
    judge, descriptor = dlib.face_recognition_model_v1(str(WEIGHTS)), load_descriptor("dlib", WEIGHTS)
    tilted = portrait(turn=20, x=0.03, scale=0.9)
    images = [portrait(), tilted, np.ascontiguousarray(portrait()[:, ::-1]), portrait() // 3]
    landmarks = [finder.find(image)[0].landmarks for image in images]
    chips = [face_chip(image, points) for image, points in zip(images, landmarks, strict=True)]
    expected = np.array([judge.compute_face_descriptor(chip) for chip in chips])
    ours = np.array([descriptor.describe(image, points) for image, points in zip(images, landmarks, strict=True)])
    assert ours.dtype == np.float64
    assert ours == pytest.approx(expected, abs=1e-5), "values of up to 0.5, which rounding moves by less than 1e-6"
    assert np.abs(expected[0] - expected[1:]).max(axis=1).min() > 0.01, "the faces are told apart"
    together = DlibNetwork(WEIGHTS)(torch.from_numpy(np.stack(chips)))
    assert together.numpy() == pytest.approx(expected, abs=1e-5)


@needs_weights
def test_many_faces_are_described_as_one_by_one(finder: FaceFinder) -> None:
    descriptor = load_descriptor("dlib", WEIGHTS)
    images = [portrait(turn=turn, scale=scale) for turn in (-15, 0, 15) for scale in (0.8, 0.9, 1.0)]
    faces = [(image, finder.find(image)[0].landmarks) for image in images]
    assert len(faces) > AT_ONCE
    singly = np.array([descriptor.describe(*face) for face in faces])
    assert descriptor.describe_all(faces) == pytest.approx(singly, abs=2e-6)
    assert np.abs(singly[1:] - singly[:-1]).max(axis=1).min() > 1e-3, "so that their order is seen"
    assert descriptor.describe_all([]).shape == (0, DlibDescriptor.dimensions)


@needs_weights
def test_loading_leaves_the_random_numbers_of_a_training_alone() -> None:
    before = torch.get_rng_state()
    DlibDescriptor(WEIGHTS)
    assert torch.equal(torch.get_rng_state(), before)


@needs_weights
def test_files_that_differ_from_dlibs(tmp_path: Path) -> None:
    data = WEIGHTS.read_bytes()
    first = data.index(b"con_4")
    second = data.index(b"con_4", first + 1)
    third = data.index(b"con_4", second + 1)
    for name, content, message in [
        ("half", data[: len(data) // 2], "no layer con_4 of 590080 where"),
        ("end_missing", data[:-1], "does not end behind the last layer"),
        ("longer", data + data[-800:], "does not end behind the last layer"),
        ("first_missing", data[:first] + data[second:], "no layer con_4 of 4736 where"),
        ("second_missing", data[:second] + data[third:], "no layer con_4 of 9248 where"),
        ("second_twice", data[:third] + data[second:], "no layer con_4 of 18496 where"),
        ("no_affine", data.replace(b"affine_", b"bn_con_"), "no layer affine_ of 64 where"),
        ("not_a_number", data[:-508] + b"\xff" * 8 + data[-500:], "a layer fc_2 has weights that are not finite"),
    ]:
        path = tmp_path / f"{name}.dat"
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}\.dat is not dlib's face recognition network \(.*{message}"):
            load_descriptor("dlib", path)


def test_weights_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"score\.descriptor_weights: .*absent\.dat does not exist"):
        load_descriptor("dlib", tmp_path / "absent.dat")
    (tmp_path / "text.dat").write_text("no network")
    with pytest.raises(UserError, match="is not dlib's face recognition network"):
        load_descriptor("dlib", tmp_path / "text.dat")


def test_aligned_face_has_the_points_where_networks_expect_them() -> None:
    random = np.random.default_rng(0)
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[30], points[48], points[54] = (ARCFACE_POINTS[i] for i in range(5))
    image = random.integers(0, 255, (112, 112, 3)).astype(np.uint8)
    assert (aligned_face(image, points + 0.5) == image).all(), "a face that is in place stays as it is"
    assert (aligned_face(image, points + 0.5, 112, 96) == image[:, 8:-8]).all()
    large = np.kron(image, np.ones((2, 2, 1), np.uint8))
    assert np.abs(aligned_face(large, 2 * (points + 0.5)).astype(int) - image).mean() < 1


def test_a_network_from_an_onnx_file(tmp_path: Path, finder: FaceFinder) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def network(name: str, side: int = 112) -> Path:
        """The mean of each channel over each half of the picture, as 6 numbers."""
        helper = onnx.helper
        shape = [helper.make_tensor_value_info("face", onnx.TensorProto.FLOAT, ["n", 3, side, side])]
        result = [helper.make_tensor_value_info("descriptor", onnx.TensorProto.FLOAT, ["n", 6])]
        nodes = [
            helper.make_node(
                "AveragePool", ["face"], ["pooled"], kernel_shape=[side // 2, side], strides=[side // 2, side]
            ),
            helper.make_node("Flatten", ["pooled"], ["descriptor"]),
        ]
        graph = helper.make_graph(nodes, "mean", shape, result)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    descriptor = load_descriptor("arcface", network("means.onnx"), "CC0")
    assert (
        descriptor.name.startswith("means ")
        and descriptor.name.endswith("(licence: CC0)")
        and descriptor.dimensions == 6
    )
    image = portrait()
    landmarks = finder.find(image)[0].landmarks
    face = aligned_face(image, landmarks).astype(float) / 127.5 - 1
    expected = face.reshape(2, 56, 112, 3).mean(axis=(1, 2)).T.ravel()
    assert descriptor.describe(image, landmarks) == pytest.approx(expected, abs=1e-4)
    assert np.isnan(descriptor.describe(image, np.full((68, 2), np.nan))).all()
    assert descriptor.describe_all([(image, landmarks)] * 2) == pytest.approx(np.stack([expected] * 2), abs=1e-4)
    assert descriptor.describe_all([]).shape == (0, 6)
    with pytest.raises(UserError, match="needed: N x 3 x 112 x 112"):
        load_descriptor("arcface", network("large.onnx", 128))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match="is not a readable ONNX network"):
        load_descriptor("arcface", tmp_path / "text.onnx")
