"""The ONNX graph of a model, in onnxruntime."""

import json
import sys
from itertools import islice
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from face_shapes import narrow_avatar, narrow_model

from reenact import Avatar, UserError
from reenact.data.images import fit, to_tensor
from reenact.media.probe import probe, read_frames
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.tools import onnx_export
from reenact.tools.onnx_export import export_onnx


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A meta-model with random weights: its graph has both inputs."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("onnx") / "meta.safetensors"
    save_model(path, Reenactor(PRESETS["small"]).eval(), {"stage": "meta"})
    return path


def test_it_agrees_with_torch_on_real_frames_at_any_batch_size(model, demo_media):
    path = model.with_suffix(".onnx")
    assert export_onnx(model=model, onnx=path) <= 1e-3
    pictures = [frame.pixels()[:, 140:500] for frame in islice(read_frames(probe(demo_media("single_face.mp4"))), 16)]
    frames = fit(to_tensor(np.stack(pictures)), 64)
    avatar = Avatar.load(model, "cpu", "fp32")
    identity = avatar.identity_embedding(frames).mean(0, keepdim=True).expand(16, -1)
    expected = avatar.render(avatar.pose_embedding(frames), identity)
    session = onnxruntime.InferenceSession(str(path))
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["image_size"], metadata["personal"], json.loads(metadata["reenact"])) == (
        "64",
        "false",
        {"stage": "meta"},
    )
    for size in (16, 5, 1):
        given = {"frames": frames[:size].numpy(), "identity": identity[:size].numpy()}
        rgb, matte = session.run(["rgb", "matte"], given)
        assert np.abs(rgb - expected[0][:size].numpy()).max() < 1e-3
        assert np.abs(matte - expected[1][:size].numpy()).max() < 1e-3


def test_an_avatar_needs_frames_alone():
    graph = onnx_export.DrivingGraph(Reenactor(PRESETS["small"], personal=True).eval())
    inputs = onnx_export._inputs(graph, 2)
    assert [value.shape for value in inputs] == [(2, 3, 64, 64)]
    rgb, matte = graph(*inputs)
    assert rgb.shape == (2, 3, 64, 64) and matte.shape == (2, 1, 64, 64)


def test_a_graph_that_differs_is_not_written(model, tmp_path, monkeypatch):
    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=lambda path: path.write_bytes(b"graph"))
    monkeypatch.setattr(onnx_export, "_trace", lambda graph: program)
    monkeypatch.setattr(onnx_export, "_largest_difference", lambda graph, path: float("nan"))
    with pytest.raises(UserError, match=r"m\.onnx: not written: onnxruntime differs from PyTorch by nan"):
        export_onnx(model=model, onnx=tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"needs the package onnxscript; install it with pip install 'reenact\[onnx\]'"):
        export_onnx(model=model, onnx=tmp_path / "m.onnx")


def test_an_avatar_of_photos_is_a_graph_too(tmp_path):
    save_model(tmp_path / "avatar.safetensors", narrow_avatar(1), {})
    assert export_onnx(model=tmp_path / "avatar.safetensors", onnx=tmp_path / "avatar.onnx") <= 1e-3
    session = onnxruntime.InferenceSession(str(tmp_path / "avatar.onnx"))
    (frames,) = session.get_inputs()
    assert frames.shape[1:] == [3, 256, 256]
    rgb, matte = session.run(["rgb", "matte"], {"frames": np.zeros((2, 3, 256, 256), np.float32)})
    assert rgb.shape == (2, 3, 64, 64) and matte.shape == (2, 1, 64, 64)


def test_a_warping_meta_model_is_refused(tmp_path):
    save_model(tmp_path / "meta.safetensors", narrow_model(), {})
    with pytest.raises(UserError, match="a graph of a meta-model needs one of the constant family"):
        export_onnx(model=tmp_path / "meta.safetensors", onnx=tmp_path / "meta.onnx")
    assert not (tmp_path / "meta.onnx").exists()
