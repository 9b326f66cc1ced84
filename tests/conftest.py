"""Fixtures that several test modules share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from demo_media import find_media
from tree import ROOT


@pytest.fixture(scope="session")
def demo_media() -> Callable[..., Path]:
    """The function `find_media`."""
    return find_media


@pytest.fixture(scope="session")
def descriptor_weights(demo_media: Callable[..., Path]) -> Path:
    """Weights of the face descriptor, fetched as the workflow does."""
    return demo_media("dlib_face_recognition_resnet_model_v1.dat", "weights")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the tree with material that cannot be shipped; tests that need it are skipped elsewhere."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    return folder
