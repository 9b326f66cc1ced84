"""Clip files, training samples and their augmentation."""

import numpy as np
import pytest
import torch
from people import write_person

from reenact.data.augment import Augmentation
from reenact.data.clip import Clip, write_clip
from reenact.data.images import resize_area, resize_to, to_tensor, to_uint8
from reenact.data.samples import Sampler
from reenact.data.training_clips import PeopleInMemory, TrainingClip, load_training_clip
from reenact.runtime.errors import UserError
from reenact.settings.training import AugmentSettings, TrainingSettings


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return [load_training_clip(*write_person(folder, n, 6, holdout=2), 64) for n in ("red", "green")]


def test_clip_round_trip(tmp_path, people):
    crops, _ = write_person(tmp_path, "blue", 3, size=32)
    clip = Clip(crops)
    assert len(clip) == 3 and clip.table.image[1] == "000001.png"
    assert clip.images(list(clip.table.image)).shape == (3, 32, 32, 3)
    assert clip.image("000000.png")[16, 22].tolist() == [60, 90, 230]


def test_clip_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), write_clip(tmp_path / "crops.zip") as clip:
        clip.add("0.png", np.zeros((4, 4), np.uint8))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_damaged_clip_is_named(tmp_path):
    (tmp_path / "crops.zip").write_bytes(b"PK no")
    with pytest.raises(UserError, match=r"crops\.zip: not a readable clip file"):
        Clip(tmp_path / "crops.zip")


def test_training_never_sees_held_out_frames(people):
    assert people[0].frames.shape == (4, 64, 64, 3) and people[0].mattes.shape == (4, 64, 64)


def test_sample_depends_on_seed_and_step_only(people):
    def draw(seed, step):
        return Sampler(PeopleInMemory(people), TrainingSettings(seed=seed), 3, identity_frames=2)(step)

    first, again, later = draw(1, 7), draw(1, 7), draw(1, 8)
    assert torch.equal(first.driver, again.driver) and torch.equal(first.identity_frames, again.identity_frames)
    assert not torch.equal(first.driver, later.driver)
    assert first.identity_frames.shape == (3, 2, 3, 64, 64) and first.matte.shape == (3, 1, 64, 64)
    torch.testing.assert_close(first.target, first.driver * first.matte)


def test_micro_batches_do_not_see_a_range_of_people_each(people):
    sampler = Sampler(PeopleInMemory(people), TrainingSettings(), 4)
    firsts = {tuple(sorted(sampler(step).label[:2].tolist())) for step in range(20)}
    assert (0, 1) in firsts, "sorted by label, the first half of a batch is always one person"


def test_identity_frames_are_other_frames_than_the_target(people):
    for step in range(20):
        batch = Sampler(PeopleInMemory(people), TrainingSettings(), 2, identity_frames=3)(step)
        for target, frames in zip(batch.driver, batch.identity_frames, strict=True):
            assert all((frame - target).abs().max() > 0.1 for frame in frames)


def test_labels_match_people(people):
    batch = Sampler(PeopleInMemory(people), TrainingSettings(), 4, identity_frames=1)(3)
    reddest = batch.target[:, 0].flatten(1).amax(1) > batch.target[:, 1].flatten(1).amax(1)
    assert reddest.tolist() == (batch.label == 0).tolist()


def test_augmentation_moves_driver_target_and_matte_together_but_not_identity(people):
    batch = Sampler(PeopleInMemory(people), TrainingSettings(), 4, identity_frames=1)(1)
    torch.manual_seed(0)
    moved = Augmentation(AugmentSettings(pose=0.0))(batch)
    assert torch.equal(moved.identity_frames, batch.identity_frames)
    assert (moved.matte - batch.matte).abs().max() > 0.2
    torch.testing.assert_close(moved.target, moved.driver * moved.matte, atol=1e-5, rtol=0)


def test_pose_augmentation_changes_the_driver_alone(people):
    batch = Sampler(PeopleInMemory(people), TrainingSettings(), 4, identity_frames=1)(1)
    torch.manual_seed(0)
    changed = Augmentation(AugmentSettings(joint=0.0))(batch)
    torch.testing.assert_close(changed.target, batch.target)
    assert (changed.driver - batch.driver).abs().max() > 0.02
    assert 0 <= changed.driver.min() and changed.driver.max() <= 1


def test_images_to_tensors_and_back(people):
    frames = people[0].frames
    assert np.array_equal(to_uint8(to_tensor(frames)), frames)
    assert np.array_equal(to_uint8(to_tensor(people[0].mattes)), people[0].mattes)
    means = resize_area(frames, 32).astype(float)
    assert np.abs(means - frames.reshape(4, 32, 2, 32, 2, 3).mean((2, 4))).max() <= 0.51
    with pytest.raises(UserError, match="64 px do not divide into 48 px"):
        resize_area(frames, 48)


def test_resize_to_enlarges_and_reduces():
    assert resize_to(np.zeros((64, 64, 3), np.uint8), 256).shape == (256, 256, 3)
    assert resize_to(np.zeros((512, 512, 3), np.uint8), 256).shape == (256, 256, 3)


def test_a_turned_head_and_an_open_mouth_are_unusual_and_unknown_faces_are_not_drawn():
    still = np.tile(np.random.default_rng(0).random((1, 68, 2)), (8, 1, 1)).astype(np.float32)
    turned, open_mouth, unknown = still.copy(), still.copy(), still.copy()
    turned[2, 27:36, 0] += 0.1
    open_mouth[3, [65, 66, 67], 1] += 0.5
    unknown[1:] = np.nan

    def pose_deviation(landmarks):
        return TrainingClip("x", np.zeros((8, 4, 4, 3)), np.zeros((8, 4, 4)), landmarks).pose_deviation

    for landmarks, row in ((turned, 2), (open_mouth, 3), (unknown, 0)):
        shares = pose_deviation(landmarks)
        assert shares.sum() == pytest.approx(1) and shares.argmax() == row and shares[row] > 0.99
    assert pose_deviation(still).tolist() == pose_deviation(still * np.nan).tolist() == 8 * [0.125]
