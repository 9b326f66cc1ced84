"""Samples of the warping family: they follow from seed, step and index alone, and show what they should."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from warping_models import seeing_model
from warping_samples import SIDE, clip, sampler

from reenact.data.rank_batch import divide_batch
from reenact.models.warping.network import GIVEN
from reenact.models.warping.reference import Reference
from reenact.training.warping.fit import FEWEST
from reenact.training.warping.known_faces import find_known_faces


@pytest.fixture(scope="module")
def clips():
    return [clip("anna", 12), clip("ben", 1, 1), clip("carl", FEWEST, 2)]


def test_a_sample_follows_from_seed_step_and_index(clips):
    whole, again = sampler(clips)(3), sampler(clips)(3)
    assert torch.equal(whole.given, again.given) and not torch.equal(whole.given, sampler(clips)(6).given)
    parts = [sampler(clips, divide_batch(4, 1, rank, 2))(3) for rank in (0, 1)]
    names = ("given", "lips", "expression", "nearness", "mirrored", "target", "matte", "emphasis", "close", "source")
    for name in names:
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name)), name
    assert [*parts[0].names, *parts[1].names] == whole.names and parts[0].batch_size == 4


def test_steps_have_as_many_references_as_the_settings_say(clips):
    draw = sampler(clips, references=[1, 3])
    for step, count in ((0, 1), (1, 3), (2, 1)):
        batch = draw(step)
        assert batch.given.shape == (4, count, GIVEN, SIDE, SIDE)
        assert batch.target.shape == (4, 3, SIDE, SIDE) and batch.expression.shape == (4, 4)
        assert all(value.isfinite().all() for value in (batch.given, batch.lips, batch.emphasis))
        assert 0 < batch.lips.mean() < batch.emphasis.mean() < 0.5


def test_few_references_come_with_their_mirror_images(clips):
    draw = sampler(clips, mirrored=True, references=[1, 3, 4])
    for step, flags in enumerate(([0, 1], [0, 0, 0, 1], [0, 0, 0, 0])):
        batch = draw(step)
        assert batch.given.shape[1] == len(flags) and batch.mirrored.tolist() == [flags] * 4
    # The astronaut's hair is not the same on both sides.
    batch = draw(0)
    assert (batch.given[:, 0] - batch.given[:, 1]).abs().mean() > 0.01


def test_the_close_square_holds_eyes_and_lips(clips):
    batch = sampler(clips)(0)
    x, y, side = batch.close.unbind(1)
    assert ((x - side / 2 > 0) & (x + side / 2 < 1) & (side > 0.1)).all()
    for picture, middle, height in zip(batch.emphasis, y * SIDE, side * SIDE, strict=True):
        rows = picture[0].max(1).values.nonzero()
        assert (rows - middle).abs().max() < 0.7 * height


def test_stills_and_clips_are_drawn_as_often_as_the_settings_say(clips):
    def names(**warping):
        draw = sampler(clips, divide_batch(8), **warping)
        return {name for step in range(3) for name in draw(step).names}

    assert names(stills=1) == {"ben"} and names(stills=0) == {"anna", "carl"}
    assert names(stills=0.5) == {"anna", "ben", "carl"}


def test_people_with_stills_alone_will_do(clips):
    batch = sampler([clips[1]], references=[2])(0)
    assert batch.names == ["ben"] * 4 and batch.given.shape[1] == 2
    assert not torch.equal(batch.given[0, 0], batch.given[0, 1]), "each reference is turned in its own way"


def test_an_avatar_learns_from_its_own_photos_without_the_target(clips):
    (one, known), face = clips[0], seeing_model().face
    pictures = [np.dstack([one.frames[k], one.mattes[k]]) for k in (0, 3, 6)]
    own = {k: Reference(face, picture, known.meshes[k], SIDE) for k, picture in zip((0, 3, 6), pictures, strict=True)}
    draw = sampler([clips[0]], own=own, references=[3], stills=0)
    assert draw(0).given.shape[1] == 2, "one less than it keeps"
    random = np.random.default_rng(0)
    for target in (3, 5):
        rows = [draw._photo_rows(random, 0, target, 2) for _ in range(20)]
        drawn = {id(photo) for some in rows for photo in draw._photos(0, some)}
        assert drawn == {id(photo) for k, photo in own.items() if k != target}
    stills = sampler([clips[0]], own=own, references=[3], stills=1)(0)
    assert stills.names == ["anna"] * 4 and stills.given.shape[1] == 2, "frames of a clip are stills, too"


@pytest.mark.parametrize("stills", [0, 1])
def test_moved_references_look_like_the_target(clips, stills):
    """Where they land; references that stay where they are do not."""
    draw = sampler(clips, divide_batch(16), stills=stills, exact=1)
    batch = draw(0)
    landed = (batch.given[:, 0, 4:5] > 0.5) & (batch.matte > 0.5)
    error = ((batch.given[:, 0, :3] - batch.target).abs() * landed).sum() / landed.sum() / 3
    other = ((batch.given[:, 0, :3].roll(3, 3) - batch.target).abs() * landed).sum() / landed.sum() / 3
    assert error < 0.08 and error < 0.5 * other


def test_frames_are_found_again_that_the_pose_encoder_learns_by(clips):
    """The clips' samples alone, and as many as the settings say; without them nothing else changes."""
    draw = sampler(clips, divide_batch(16), stills=0.5, said=1, mirrored=True, references=[2])
    batch, plain = draw(0), sampler(clips, divide_batch(16), stills=1, said=1, references=[2])(0)
    taught = batch.source[:, 0] >= 0
    assert taught.tolist() == [name != "ben" for name in batch.names] and (plain.source == -1).all()
    for k in taught.nonzero()[:, 0].tolist():
        frames = draw.frames_of(batch.source[k])
        assert frames.pictures.shape == (3, 3, SIDE, SIDE)
        assert [one.flipped for one in frames.references] == [False, False, True, True]
        torch.testing.assert_close(frames.pictures[0] * batch.matte[k], batch.target[k])
        for one, head in zip(frames.references, frames.heads[1:], strict=False):
            torch.testing.assert_close(one.head, head, atol=1e-4, rtol=0)
    some = sampler(clips, divide_batch(64), stills=0, said=0.5)(0).source[:, 0] >= 0
    assert 16 < some.sum() < 48


def test_hard_poses_are_drawn_more_often(clips):
    one, known = clips[0]
    meshes = known.meshes.copy()
    meshes[5, 300:400] += 0.05
    turned = replace(known, meshes=meshes)
    faces = sampler([(one, turned)])._clips[0]
    assert faces.hard.argmax() == 5 and faces.hard.sum() == pytest.approx(1)


def test_faces_are_looked_for_once(clips, tmp_path, monkeypatch):
    model = seeing_model()
    found = find_known_faces(model, [one for one, _ in clips], tmp_path)
    assert [len(faces.rows) for faces in found] == [12, 1, FEWEST]
    assert found[0].meshes.shape == (12, 478, 3) and found[0].blendshapes.shape == (12, 4)
    assert abs(found[0].meshes.mean((0, 1))[:2] - 0.5).max() < 0.1
    monkeypatch.setattr(model, "pose_encoder", None)
    again = find_known_faces(model, [one for one, _ in clips], tmp_path)
    for ours, theirs in zip(again, found, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(vars(ours).values(), vars(theirs).values(), strict=True))
