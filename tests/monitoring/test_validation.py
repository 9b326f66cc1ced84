"""Validation during training: pairs, numbers, sheets."""

import numpy as np
import pytest
import torch

from reenact.data.training_clips import TrainingClip
from reenact.evaluation.measure import MeasuredFrames
from reenact.evaluation.perceptual import RandomVgg
from reenact.models.architecture import PRESETS
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.monitoring.validation import (
    CROSS,
    OTHER_VIDEO,
    SELF,
    Validation,
    dice_coefficient,
    evaluating,
    make_pairs,
    pose_response,
)
from reenact.settings.meta import MetaSettings
from reenact.training.learner import Learner
from reenact.training.loop import VALIDATION_ERROR


def person(name, identity="", frames=12, colour=0):
    random = np.random.default_rng(colour)
    pictures = random.integers(0, 255, (frames, 64, 64, 3), dtype=np.uint8)
    mattes = np.zeros((frames, 64, 64), np.uint8)
    mattes[:, 16:48, 16:48] = 255
    return TrainingClip(name, pictures, mattes, np.full((frames, 68, 2), np.nan, np.float32), identity)


PEOPLE = [person("a1", "a", colour=1), person("a2", "a", colour=2), person("b", colour=3)]


class PretendedMeasurer:
    """Sees a face in every picture: landmarks that follow its mean colour, and a descriptor of it."""

    perceptual = RandomVgg(0.1)

    def __init__(self, blind=False):
        self.blind = blind

    def sequence(self, pictures, mattes):
        seen = pictures.mean((1, 2, 3), keepdims=False)
        landmarks = np.arange(136).reshape(68, 2) + seen[:, None, None]
        descriptors = np.stack([seen, np.ones_like(seen)], 1)
        nothing = np.nan if self.blind else 0
        return MeasuredFrames(pictures, mattes, landmarks + nothing, descriptors + nothing)


@pytest.fixture(scope="module")
def learner():
    torch.manual_seed(0)
    return Learner(Reenactor(PRESETS["small"]), build_discriminator(PRESETS["small"], 2), MetaSettings())


def test_who_drives_whom():
    pairs = make_pairs(PEOPLE, 3)
    assert [pair.kind for pair in pairs] == [SELF, OTHER_VIDEO, CROSS, SELF, CROSS]
    own, other, cross, _, back = pairs
    assert len(own.drivers) == 3 and len(own.identity) == 8
    assert not any((frame == own.drivers).all((1, 2, 3)).any() for frame in own.identity), (
        "frames that drive do not show who it is"
    )
    assert np.array_equal(other.drivers[0], PEOPLE[1].frames[3]) and np.array_equal(
        cross.drivers[0], PEOPLE[2].frames[3]
    )
    assert np.array_equal(back.drivers[0], PEOPLE[0].frames[3])
    assert not own.targets[:, 0].any() and np.array_equal(own.targets[:, 20, 20], own.drivers[:, 20, 20])


def test_one_person_and_one_frame_are_enough():
    (pair,) = make_pairs([person("alone", frames=1)], 6)
    assert pair.kind == SELF and len(pair.drivers) == len(pair.identity) == 1


def test_average_and_raw_networks_are_measured(learner):
    numbers, _ = Validation(PEOPLE, 3, torch.device("cpu"), PretendedMeasurer())(learner)
    names = ("pose_error", "dice", "perceptual", "identity_error", "failed")
    assert set(numbers) == {f"{kind}_{name}" for kind in ("validation", "raw_validation") for name in names}
    assert numbers[VALIDATION_ERROR] > 0
    assert numbers["validation_failed"] == 0 and 0 < numbers["validation_dice"] < 1
    # the average is a copy of the raw networks still, and both are measured in evaluation mode
    assert numbers["validation_perceptual"] == pytest.approx(numbers["raw_validation_perceptual"])
    assert learner.reenactor.training and learner.reenactor.pose_encoder.features.training


def test_faces_that_are_not_found_leave_their_numbers_out(learner):
    numbers = Validation(PEOPLE, 3, torch.device("cpu"), PretendedMeasurer(blind=True))(learner)[0]
    assert (
        numbers["validation_failed"] == 1
        and "validation_pose_error" not in numbers
        and "validation_identity_error" not in numbers
    )
    assert "validation_dice" in numbers


def test_sheets_show_identity_driver_target_output_matte_error(learner):
    sheets = Validation(PEOPLE, 3, torch.device("cpu"))(learner)[1]
    assert {kind: sheet.shape for kind, sheet in sheets.items()} == {
        SELF: (2 * 64, 6 * 64, 3),
        OTHER_VIDEO: (64, 6 * 64, 3),
        CROSS: (2 * 64, 6 * 64, 3),
    }
    own, columns = make_pairs(PEOPLE, 3)[0], np.split(sheets[SELF][:64], 6, axis=1)
    for column, expected in ((0, own.identity[0]), (1, own.drivers[1]), (2, own.targets[1])):
        assert np.array_equal(columns[column], expected)
    assert np.array_equal(columns[5], np.abs(columns[3].astype(int) - columns[2]))
    assert not np.split(sheets[CROSS][:64], 6, axis=1)[2].any(), "nobody knows the truth there"


def test_evaluating_puts_modes_back(learner):
    learner.reenactor.pose_encoder.eval()
    with evaluating(learner.reenactor) as net:
        assert not any(module.training for module in net.modules())
    assert (
        learner.reenactor.training
        and not learner.reenactor.pose_encoder.training
        and not learner.reenactor.pose_encoder.features.training
    )
    learner.reenactor.pose_encoder.train()


def test_dice_coefficient():
    matte = PEOPLE[0].mattes[0] / 255
    assert dice_coefficient(matte, matte) == 1
    assert dice_coefficient(matte, 1 - matte) == 0


def test_pose_response():
    targets = torch.rand(4, 3, 8, 8)
    assert pose_response(targets, targets) == pytest.approx(1)
    assert pose_response(targets[:1].expand(4, -1, -1, -1), targets) == pytest.approx(0, abs=1e-6)
