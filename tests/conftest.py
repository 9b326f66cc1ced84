"""Fixtures that several test modules share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from demo_media import find_media
from tree import ROOT


@pytest.fixture(scope="session", autouse=True)
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests sign is not signed with the key of whoever runs them, but with one made for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REENACT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def demo_media() -> Callable[..., Path]:
    """The function `find_media`."""
    return find_media


@pytest.fixture(scope="session")
def descriptor_weights(demo_media: Callable[..., Path]) -> Path:
    """Weights of the face descriptor, fetched as the workflow does."""
    return demo_media("dlib_face_recognition_resnet_model_v1.dat", "weights")


@pytest.fixture(scope="session")
def face_landmarker(demo_media: Callable[..., Path]) -> Path:
    """Networks of mediapipe's face landmarker, fetched as the workflow does."""
    return demo_media("face_landmarker_v2.task", "weights")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the tree with material that cannot be shipped; tests that need it are skipped elsewhere."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    return folder
