"""The face descriptor on a real face."""

from pathlib import Path

import numpy as np
import pytest
from person_clips import WEIGHTS, portrait

from reenact.descriptor import CHIP_SIZE, DIMENSIONS, FaceDescriptor, face_chip
from reenact.errors import UserError
from reenact.faces import FaceFinder
from reenact.metrics import identity_error

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
    descriptor = FaceDescriptor(WEIGHTS)
    images = [portrait(), portrait(turn=10, x=0.03, scale=0.9)]
    descriptors = np.array([descriptor.describe(image, finder.find(image)[0].landmarks) for image in images])
    assert descriptors.shape == (2, DIMENSIONS)
    assert identity_error(descriptors[:1], descriptors[1:]) < 0.04
    landmarks = finder.find(images[0])[0].landmarks
    blank = descriptor.describe(np.full_like(images[0], 128), landmarks)
    assert identity_error(blank[None], descriptors) > 0.1
    assert np.isnan(descriptor.describe(images[0], np.full((68, 2), np.nan))).all()


def test_weights_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"score\.descriptor_weights: .*absent\.dat does not exist"):
        FaceDescriptor(tmp_path / "absent.dat")
    (tmp_path / "text.dat").write_text("no network")
    with pytest.raises(UserError, match="is not dlib's face recognition network"):
        FaceDescriptor(tmp_path / "text.dat")
