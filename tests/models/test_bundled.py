"""The meta-model that comes with the package: what it says about itself, and that it makes faces that follow."""

import numpy as np
import pytest
import torch
from person_clips import portrait
from safetensors import safe_open

from reenact import Avatar
from reenact.data.images import to_tensor, to_uint8
from reenact.faces.mediapipe_faces import FaceFinder
from reenact.models.model_file import load_model
from reenact.settings.meta import BUNDLED_MODELS

BUNDLED = BUNDLED_MODELS["mini"]

TURNS = (-15.0, 0.0, 15.0)


@pytest.fixture(scope="module")
def driven():
    """The astronaut, zero-shot, driven by her own photo turned in its plane: uint8 N x S x S x 3 and mattes."""
    avatar = Avatar.load(BUNDLED, "cpu")
    frames = to_tensor(np.stack([portrait(turn, scale=0.8) for turn in TURNS]))
    rgb, matte = avatar.render(avatar.pose_embedding(frames), avatar.identity_embedding(frames[1:2]))
    return to_uint8(rgb), to_uint8(matte)


def test_it_fits_into_the_tree_in_half_precision():
    assert BUNDLED.stat().st_size <= 16 * 2**20
    with safe_open(BUNDLED, "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}
    assert kinds == {torch.float16, torch.int64}
    net, _, discriminator = load_model(BUNDLED)
    assert all(torch.isfinite(value).all() and value.dtype != torch.float16 for value in net.state_dict().values())
    assert discriminator and net.architecture.image_size == 128


def test_it_says_what_it_learned_from():
    metadata = load_model(BUNDLED)[1]
    assert metadata["licence"].startswith("Apache-2.0") and metadata["steps"] > 0 and metadata["settings"]["losses"]
    assert len(metadata["trained_on"]) == len(metadata["clips"]) > 50
    assert all(clip["source"] and clip["licence"] is not None for clip in metadata["trained_on"])
    assert not any("/" in str(value) for key, value in metadata["settings"].items() if key.endswith("weights"))


def test_it_makes_faces_that_turn_with_the_driver(driven):
    pictures, _ = driven
    angles = []
    with FaceFinder() as finder:
        for picture in pictures:
            faces = finder.find(picture)
            assert faces, "no face in the output"
            eyes = faces[0].landmarks[[36, 45]]
            angles.append(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])))
    assert angles[0] > angles[1] + 3 and angles[1] > angles[2] + 3


def test_its_matte_is_a_head_before_nothing(driven):
    _, mattes = driven
    share = (mattes > 127).mean((1, 2))
    assert ((share > 0.2) & (share < 0.9)).all()
    assert (mattes[:, :6, :6] < 64).all()
