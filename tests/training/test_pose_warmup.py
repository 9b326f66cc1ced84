"""The encoders' start before meta-learning."""

import numpy as np
import pytest
import torch
from people import COLOURS, disc

from reenact.data import pose_samples
from reenact.data.images import to_tensor
from reenact.data.pose_samples import PoseSamples, geometric_augment, replace_background
from reenact.data.samples import Sampler
from reenact.data.training_clips import PeopleInMemory, TrainingClip
from reenact.faces.landmarks import MIRRORED
from reenact.models.architecture import PRESETS
from reenact.models.mobilenet import MobileNetV2
from reenact.models.reenactor import Reenactor
from reenact.settings.training import TrainingSettings
from reenact.training import pose_warmup
from reenact.training.landmark_network import landmark_distance, openings
from reenact.training.pose_warmup import (
    DESCRIPTOR_SCALE,
    _align,
    calibrate_batchnorm,
    pretrain_pose_encoder,
    scale_descriptors,
)


def person(name: str) -> TrainingClip:
    """Discs whose 'landmarks' are 68 points on their rim."""
    frames, mattes, landmarks = [], [], []
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    for x in np.linspace(0.35, 0.65, 8):
        frame, matte = disc(COLOURS[name], x, 0.5, 64)
        frames.append(frame)
        mattes.append(matte)
        landmarks.append(np.stack([x + 0.25 * np.cos(angle), 0.5 + 0.25 * np.sin(angle)], 1))
    return TrainingClip(name, np.stack(frames), np.stack(mattes), np.stack(landmarks).astype(np.float32))


def test_mirroring_twice_is_nothing_and_swaps_the_eyes():
    assert sorted(MIRRORED) == list(range(68)) and [MIRRORED[i] for i in MIRRORED] == list(range(68))
    assert [MIRRORED[i] for i in (0, 8, 27, 30, 36, 45, 48, 51, 62)] == [16, 8, 27, 30, 45, 36, 54, 51, 62]


def test_landmarks_move_with_their_frame():
    """A red disc on black, turned, scaled, shifted and mirrored: its middle stays that of its landmarks."""
    torch.manual_seed(0)
    red = person("red")
    images = (to_tensor(red.frames) * to_tensor(red.mattes)).repeat(4, 1, 1, 1)
    points = torch.from_numpy(red.landmarks).repeat(4, 1, 1)
    images, found, flipped = geometric_augment(images, points)
    weights = images.sum(1)
    for axis, side in ((0, 1), (1, 2)):
        place = (weights.sum(side) * (torch.arange(64) + 0.5)).sum(1) / weights.sum((1, 2)) / 64
        torch.testing.assert_close(place, found[..., axis].mean(1), atol=0.02, rtol=0)
    assert (found - points).abs().mean() > 0.03
    # A disc looks the same mirrored; its landmarks are renumbered as a face's are, of which 0 and 16 change places.
    mirrored = (found[:, 0] - points[:, 16]).norm(dim=1) < (found[:, 0] - points[:, 0]).norm(dim=1)
    assert 4 < mirrored.sum() < 28
    # Points in the middle of a face keep their numbers: of three of them, the order around changes.
    around = [torch.linalg.det(torch.stack([p[:, 30] - p[:, 27], p[:, 8] - p[:, 27]], 1)) > 0 for p in (points, found)]
    assert torch.equal(around[0] != around[1], flipped)


def test_another_ground_leaves_the_person_alone():
    torch.manual_seed(0)
    images, mattes = torch.rand(64, 3, 8, 8), torch.zeros(64, 1, 8, 8)
    mattes[..., :4] = 1
    changed = replace_background(images, mattes)
    assert torch.equal(changed[..., :4], images[..., :4])
    same = (changed[..., 4:] == images[..., 4:]).flatten(1).all(1)
    black = (changed[..., 4:] == 0).flatten(1).all(1)
    assert 16 < same.sum() < 48 and 4 < black.sum() < 28


def test_drawn_landmarks_lie_where_the_frame_shows_them(monkeypatch: pytest.MonkeyPatch):
    """Frames and landmarks of one sample belong together; colours and grounds, which would hide the disc, stay."""
    monkeypatch.setattr(pose_samples, "replace_background", lambda images, mattes: images)
    monkeypatch.setattr(pose_samples, "photometric_augment", lambda images: images)
    frames, landmarks = PoseSamples([person("red")], torch.device("cpu")).draw(16, seed=0)
    assert frames.shape == (16, 3, 64, 64) and landmarks.shape == (16, 68, 2)
    reddish = (frames[:, 0] - 1.3 * frames[:, 1]).clamp_min(0)
    columns = (reddish.sum(1) * torch.arange(64)).sum(1) / reddish.sum((1, 2)) / 64
    torch.testing.assert_close(columns, landmarks[..., 0].mean(1), atol=0.03, rtol=0)


def test_samples_follow_from_their_seed():
    samples = PoseSamples([person("red"), person("blue")], torch.device("cpu"))
    frames, landmarks = samples.draw(6, seed=3)
    assert frames.shape == (6, 3, 64, 64) and landmarks.shape == (6, 68, 2) and 0 <= frames.min() < frames.max() <= 1
    again, other = samples.draw(6, seed=3), samples.draw(6, seed=4)
    assert torch.equal(frames, again[0]) and torch.equal(landmarks, again[1]) and not torch.equal(frames, other[0])


def test_what_opens_is_measured_and_costs_more_than_what_moves():
    points = torch.rand(1, 68, 2, generator=torch.manual_seed(0))
    assert openings(points).shape == (1, 8)
    lip, lid = points.clone(), points.clone()
    lip[:, [61, 62, 63], 1] -= 0.03
    lid[:, [37, 38], 1] += 0.03
    torch.testing.assert_close(openings(lip) - openings(points), torch.tensor([[0.03] + 7 * [0.0]]))
    torch.testing.assert_close(openings(lid) - openings(points), torch.tensor([[0, -0.03] + 6 * [0.0]]))
    brow = points.clone()
    brow[:, [24, 25], 1] += 0.03
    assert landmark_distance(lid, points) > 5 * landmark_distance(brow, points) > 0
    assert landmark_distance(lid, points) > 5 * landmark_distance(lid, points, emphasis=0.0) > 0


def test_the_descriptor_learns_the_place_of_the_head(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pose_warmup, "BATCH", 24)
    torch.manual_seed(0)
    encoder, people = MobileNetV2(16, 0.25, dropout=0.0), [person("red"), person("blue")]
    calibrate_batchnorm(encoder, people, seed=1)
    pretrain_pose_encoder(encoder, people, steps=60, seed=1)
    with torch.no_grad():
        red, blue = (encoder(to_tensor(p.frames)) for p in people)
    x = torch.linspace(-1, 1, 8)
    for values in (red, blue):
        fit = torch.linalg.lstsq(torch.cat([red, blue]).sub(red.mean(0)), torch.cat([x, x])[:, None]).solution
        assert torch.corrcoef(torch.stack([(values - red.mean(0)) @ fit[:, 0], x]))[0, 1] > 0.9


@torch.no_grad()
def test_descriptors_are_turned_and_scaled_to_be_like_those_that_a_generator_knows():
    torch.manual_seed(0)
    head, x = torch.nn.Linear(8, 4), torch.randn(50, 8)
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    wanted = 3 * head(x) @ turn + torch.arange(4)
    _align(head, head(x), wanted)
    torch.testing.assert_close(head(x), wanted, atol=1e-5, rtol=1e-5)
    other = wanted + torch.randn(50, 4)
    _align(head, head(x), other)  # what is not like it is kept, and not made smaller
    deviation = [(values - values.mean(0)).norm().item() for values in (head(x), other)]
    assert deviation[0] == pytest.approx(deviation[1], rel=1e-4)


def test_settled_norms_make_a_descriptor_its_frames_own():
    torch.manual_seed(0)
    encoder, people = MobileNetV2(16, 0.25, dropout=0.0), [person("red"), person("blue")]
    frames = [to_tensor(p.frames) for p in people]

    def dependence() -> float:
        """How far the company of other frames moves a descriptor, as a share of how far frames are apart."""
        with torch.no_grad():
            alone, among = encoder(frames[0]), encoder(torch.cat([frames[0], frames[1][:4]]))[:8]
        return ((alone - among).abs().mean() / alone.std(0).mean()).item()

    assert dependence() > 0.2
    calibrate_batchnorm(encoder, people, seed=1)
    assert dependence() < 1e-3
    with torch.no_grad():  # and what goes through the network is as large as with the batch's own statistics
        assert encoder(frames[0]).std() == pytest.approx(encoder.train()(torch.cat(frames))[:8].std().item(), rel=0.7)


def test_frames_without_landmarks_are_not_used():
    unknown = TrainingClip(
        "x", np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 64, 64), np.uint8), np.full((2, 68, 2), np.nan)
    )
    encoder = MobileNetV2(16, 0.25)
    before = encoder.classifier[1].weight.clone()
    pretrain_pose_encoder(encoder, [unknown], steps=5, seed=1)
    assert torch.equal(encoder.classifier[1].weight, before)


def test_embeddings_start_at_the_stated_scale():
    torch.manual_seed(0)
    net, people = Reenactor(PRESETS["small"]), [person("red"), person("green")]
    batch = Sampler(PeopleInMemory(people), TrainingSettings(), 16, identity_frames=1)(0)
    scale_descriptors(net, batch)
    for values in (net.pose_encoder(batch.driver), net.identity_encoder(batch.identity_frames[:, 0])):
        assert values.std(0).mean().item() == pytest.approx(DESCRIPTOR_SCALE, rel=0.02)
        assert values.mean(0).abs().max() < 0.05
