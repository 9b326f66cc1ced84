"""Expressions are those of mediapipe's face landmarker.

`python benchmarks/face_networks.py record-blendshapes tests/fixtures/mediapipe_blendshapes.npz
resources/media/WolfgangLanger_Pexels.mp4 resources/media/astronaut.png --every 80` records them anew.
"""

from pathlib import Path

import numpy as np
import pytest
from tree import ROOT

from benchmarks.face_networks import pictures
from reenact.faces.blendshapes import FaceLandmarker
from reenact.runtime.errors import UserError
from reenact.settings.fetch import FACE_LANDMARKER


@pytest.fixture(scope="module")
def landmarker(demo_media):
    return FaceLandmarker(demo_media(Path(FACE_LANDMARKER).name, "weights"))


def test_points_and_blendshapes(landmarker, demo_media):
    media = [demo_media(name) for name in ("WolfgangLanger_Pexels.mp4", "astronaut.png")]
    with np.load(ROOT / "tests" / "fixtures" / "mediapipe_blendshapes.npz") as known:
        assert len(known) == 14
        for name, image in pictures(media, every=80, hard=False):
            found = landmarker.read(image)
            apart = np.abs(found.points - known[f"{name}/points"])
            assert apart[:, :2].max() < 0.2, name
            assert name.startswith("WolfgangLanger") or apart[:, 2].max() < 0.2, name
            np.testing.assert_allclose(found.blendshapes, known[f"{name}/blendshapes"], atol=0.01, err_msg=name)


def test_no_face_and_no_bundle(landmarker, tmp_path):
    assert landmarker.read(np.zeros((64, 64, 3), np.uint8)) is None
    with pytest.raises(UserError, match=r"fetch it with: snakemake --cores 1 resources/weights/face_landmarker_v2"):
        FaceLandmarker(tmp_path / "absent.task")
    (tmp_path / "other.task").write_bytes(b"other")
    with pytest.raises(UserError, match="not the expected file"):
        FaceLandmarker(tmp_path / "other.task")
