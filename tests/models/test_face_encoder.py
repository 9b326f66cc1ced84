"""The pose encoder of the warping family, its first weights, and its file."""

import zipfile

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from reenact.data.images import to_tensor
from reenact.faces.litert import Network
from reenact.models.encoder_file import PretrainedEncoder, load_encoder, save_encoder
from reenact.models.face_encoder import FEATURES, FaceEncoder
from reenact.models.face_encoder_weights import MESH_NETWORK, fill_trunk
from reenact.models.warping.mesh import POINTS
from reenact.runtime.errors import UserError
from reenact.settings.meta import BUNDLED_MODELS

HEAD = np.ascontiguousarray(data.astronaut()[20:276, 96:352])


def test_the_trunk_computes_what_the_mesh_network_does(face_landmarker):
    """The mesh is linear in the features: read with the network's own last layer, it is that of LiteRT."""
    encoder, last = FaceEncoder(8), nn.Linear(FEATURES, 3 * POINTS)
    fill_trunk(encoder.trunk, face_landmarker, last)
    with zipfile.ZipFile(face_landmarker) as archive:
        network = archive.read(MESH_NETWORK)
    with torch.no_grad():
        mesh = last(encoder.trunk(to_tensor([HEAD])))
    wanted = next(output for output in Network(network)(HEAD[None].astype(np.float32) / 255) if output.size == 1434)
    np.testing.assert_allclose(mesh.numpy().ravel(), wanted.ravel(), atol=0.005)  # px


def test_a_descriptor_depends_on_its_own_frame_alone():
    torch.manual_seed(0)
    encoder = FaceEncoder(16).train()
    frames = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        together, alone = encoder(frames), encoder(frames[:1])
    assert together.shape == (2, 16)
    torch.testing.assert_close(together[:1], alone)


def test_every_weight_is_reached():
    torch.manual_seed(0)
    encoder = FaceEncoder(16)
    encoder(torch.rand(2, 3, 256, 256)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_normalised_features_reach_the_head_with_mean_0_and_deviation_1():
    torch.manual_seed(0)
    encoder, features = FaceEncoder(16), 5 + 3 * torch.randn(500, FEATURES)
    wanted = encoder.head[0]((features - features.mean(0)) / (features.std(0) + 0.05))
    encoder.normalise_features(features)
    torch.testing.assert_close(encoder.head[0](features), wanted, atol=1e-4, rtol=1e-4)


def test_another_network_is_refused(face_landmarker, tmp_path):
    """The blendshapes' network in the place of the mesh's."""
    with zipfile.ZipFile(face_landmarker) as archive:
        other = archive.read("face_blendshapes.tflite")
    path = tmp_path / "other.task"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MESH_NETWORK, other)
    with pytest.raises(UserError, match=r"other.task: holds no face_landmarks_detector.tflite of the layers .*fetch"):
        fill_trunk(FaceEncoder(8).trunk, path)


def test_the_file_gives_back_encoder_and_readout(tmp_path):
    torch.manual_seed(0)
    encoder, readout = FaceEncoder(16).eval(), nn.Linear(16, 3)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, PretrainedEncoder(encoder, readout, {"measures": ["a", "b", "c"]}))
    loaded = load_encoder(path)
    frames = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        torch.testing.assert_close(loaded.readout(loaded.encoder(frames)), readout(encoder(frames)), rtol=0, atol=0)
    assert loaded.metadata == {"measures": ["a", "b", "c"]} and not loaded.encoder.training


def test_a_model_file_is_no_encoder(tmp_path):
    with pytest.raises(UserError, match=r"nothing.safetensors: not a readable file of a pose encoder"):
        load_encoder(tmp_path / "nothing.safetensors")
    with pytest.raises(UserError, match=r"mini.safetensors: not a pose encoder of stage pretrain"):
        load_encoder(BUNDLED_MODELS["mini"])
