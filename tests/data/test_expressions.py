"""Samples of what faces do."""

import numpy as np
import pytest
import torch
from person_clips import oval, portrait, swaying

from reenact.data.expressions import _SWAPPED, MEASURES, MOVING, Expressions, ExpressionSamples, find_expressions
from reenact.data.training_clips import TrainingClip
from reenact.faces.blendshapes import BLENDSHAPES
from reenact.faces.face import IBUG_68
from reenact.faces.landmarks import FACE_MEASURES, MIRRORED, face_measures, head_angles


def clip(name, frames):
    mattes = np.stack([oval()] * len(frames))
    return TrainingClip(name, np.stack(frames), mattes, np.full((len(frames), 68, 2), np.nan, np.float32))


@pytest.fixture(scope="module")
def clips():
    return [clip("moving", swaying(MOVING)), clip("photo", [portrait()]), clip("nobody", [portrait() * 0 + 90])]


@pytest.fixture(scope="module")
def found(clips, face_landmarker):
    return find_expressions(clips, face_landmarker, most=8, threads=2)


@pytest.fixture(scope="module")
def samples(clips, found):
    return ExpressionSamples(clips, found, torch.device("cpu"))


def test_swapping_twice_is_nothing_and_knows_the_sides():
    assert [_SWAPPED[i] for i in _SWAPPED] == list(range(52))
    assert BLENDSHAPES[_SWAPPED[BLENDSHAPES.index("eyeBlinkLeft")]] == "eyeBlinkRight"
    assert BLENDSHAPES[_SWAPPED[BLENDSHAPES.index("jawOpen")]] == "jawOpen"


def test_faces_are_found_and_frames_without_one_left_out(found):
    assert [len(one.rows) for one in found] == [8, 1, 0]
    # The head sways by 0.04 of the side and 12 degrees.
    nose = found[0].landmarks[:, 30, 0]
    assert 0.05 < np.ptp(nose) < 0.12
    assert found[1].landmarks.shape == (1, 68, 2) and 0.3 < found[1].landmarks.mean() < 0.7


def test_half_of_the_samples_are_photos():
    """Of one dark clip and one bright photo."""
    meshes = np.random.default_rng(0).uniform(0.3, 0.7, (MOVING, 478, 3)).astype(np.float32)
    clips, known = [], []
    for count, grey in ((MOVING, 40), (1, 200)):
        frames, mattes = np.full((count, 32, 32, 3), grey, np.uint8), np.full((count, 32, 32), 255, np.uint8)
        clips.append(TrainingClip(str(grey), frames, mattes, meshes[:count, :68, :2]))
        known.append(Expressions(np.arange(count), meshes[:count], np.zeros((count, 52), np.float32)))
    frames, _ = ExpressionSamples(clips, known, torch.device("cpu")).draw(10, 0)
    assert (frames.flatten(1).median(1).values > 0.43).sum() == 5


def test_the_same_seed_draws_the_same(samples):
    (first, wanted), (again, same), (other, _) = samples.draw(4, 3), samples.draw(4, 3), samples.draw(4, 4)
    assert torch.equal(first, again) and torch.equal(wanted, same) and not torch.equal(first, other)
    assert first.shape == (4, 3, 256, 256) and wanted.shape == (4, len(MEASURES))
    assert 0 <= first.min() and first.max() <= 1


def test_measures_are_of_the_changed_frame(clips, found, samples, face_landmarker):
    """The landmarker, asked about changed frames, agrees: with place and turn."""
    frames, wanted = samples.draw(24, 7)
    factor, summand = samples.scale()
    values = (wanted * factor + summand).numpy()
    pictures = (frames.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    seen = find_expressions([clip("changed", list(pictures))], face_landmarker, most=24, threads=1)[0]
    assert len(seen.rows) > 15
    names = list(MEASURES)
    middles = seen.landmarks.mean(1)
    for axis, name in enumerate(("x", "y")):
        assert np.abs(middles[:, axis] - values[seen.rows, names.index(name)]).max() < 0.03
    assert np.abs(values[seen.rows, names.index("roll")] - head_angles(seen.landmarks)[:, 2]).max() < 4


def test_blendshapes_change_sides_with_the_picture():
    """The eye on the picture's left, the person's right one, is wide open, and so says the blendshape."""
    points = np.random.default_rng(0).uniform(0.3, 0.7, (1, 68, 2)).astype(np.float32)
    points[0, [40, 41]], points[0, [46, 47]] = points[0, [38, 37]] + [0, 0.2], points[0, [44, 43]] + [0, 0.01]
    mesh = np.zeros((1, 478, 3), np.float32)
    mesh[:, IBUG_68, :2] = points
    shapes = np.zeros((1, 52), np.float32)
    shapes[0, BLENDSHAPES.index("eyeWideRight")] = 1
    frames, mattes = np.full((1, 32, 32, 3), 90, np.uint8), np.full((1, 32, 32), 255, np.uint8)
    photo, known = TrainingClip("photo", frames, mattes, points), Expressions(np.arange(1), mesh, shapes)
    samples = ExpressionSamples([photo], [known], torch.device("cpu"))
    factor, summand = samples.scale()
    values = (samples.draw(16, 0)[1] * factor + summand).T
    said = dict(zip(MEASURES, values, strict=True))
    right = said["left_lids"] > said["right_lids"]
    assert 2 < right.sum() < 14
    assert torch.equal(said["eyeWideRight"].round(), right.float())
    assert torch.equal(said["eyeWideLeft"].round(), (~right).float())


def test_mirroring_exchanges_the_eyes_measures():
    points = np.random.default_rng(0).uniform(0.3, 0.7, (1, 68, 2)).astype(np.float32)
    other = points[:, MIRRORED] * [-1, 1] + [1, 0]
    before, after = (dict(zip(FACE_MEASURES, face_measures(p)[0], strict=True)) for p in (points, other))
    assert after["left_lids"] == pytest.approx(before["right_lids"]) != before["left_lids"]
    assert after["mouth"] == pytest.approx(before["mouth"]) and after["x"] == pytest.approx(1 - before["x"])


def test_nobody_is_no_sample(clips):
    nothing = Expressions(np.zeros(0, int), np.zeros((0, 68, 2), np.float32), np.zeros((0, 52), np.float32))
    assert not ExpressionSamples(clips[2:], [nothing], torch.device("cpu"))
