"""What a person's photos say of each other's surroundings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from face_shapes import head, mesh, narrow_avatar, narrow_model, photo

from reenact.data.images import to_uint8
from reenact.models.model_file import load_model, save_model
from reenact.models.warping.compose import sample
from reenact.models.warping.expression import Face
from reenact.models.warping.reference import Reference, beside_mirror_images, make_surfaces
from reenact.training.warping import relief
from reenact.training.warping.relief import FEWEST, GRID, SIDE, fitted, with_relief


@pytest.fixture(scope="module")
def face():
    return narrow_model().face


@pytest.fixture(scope="module")
def surface(face):
    return Reference(face, photo(SIDE), (mesh() * 0.7 + np.array([0.5, 0.5, 0])).astype(np.float32), SIDE)


def other_faces(surface):
    """Where the person's head is in other photos: turned, and aside."""
    heads = [head(angle=angle, place=(x, 0.5, 0.0), size=0.7) for angle, x in ((0.4, 0.5), (-0.4, 0.45), (0.2, 0.55))]
    return Face(surface.shape.expand(3, -1, -1), torch.stack(heads), torch.zeros(3, 4))


def shown(surface, faces):
    moved = surface.move(faces.shape, faces.head)
    return sample(moved.shown, moved.flow) * moved.coverage


def lower_follows_less() -> torch.Tensor:
    """A relief: the lower part of a photo goes along less, and lies deeper."""
    true = torch.zeros(3, GRID, GRID)
    true[0, GRID // 2 :], true[1, GRID // 2 :] = 0.05, -0.6
    return true


def test_a_relief_changes_what_surrounds_the_face_alone(surface):
    raised = surface.with_relief(torch.tensor([0.05, -0.5, 0.3])[:, None, None].expand(3, GRID, GRID))
    on_face = surface.elastic == 1
    around = (surface.elastic < 0.5) & (surface.behind == 0)
    assert on_face.any() and around.any()
    for name in ("points", "canonical", "rigid"):
        before, after = getattr(surface, name), getattr(raised, name)
        assert torch.equal(before[on_face], after[on_face])
    assert not torch.isclose(surface.rigid[around], raised.rigid[around]).any()
    torch.testing.assert_close(raised.points[around, 2], surface.points[around, 2] + 0.05)
    torch.testing.assert_close(raised.drawn[around], torch.full_like(raised.drawn[around], 0.3), atol=1e-4, rtol=0)
    torch.testing.assert_close(raised.rigid[around], (surface.rigid[around] - 0.5).clamp(0, 1), atol=1e-4, rtol=0)


def test_without_relief_a_photo_moves_as_before_and_where_it_was_it_does_not(surface):
    faces = other_faces(surface)
    flat = surface.with_relief(torch.zeros(3, GRID, GRID))
    assert torch.equal(shown(flat, faces), shown(surface, faces))
    there = Face(surface.shape[None], surface.head[None], torch.zeros(1, 4))
    moved = surface.with_relief(lower_follows_less()).move(there.shape, there.head)
    person = torch.from_numpy(photo(SIDE)[..., 3] > 0)
    assert moved.flow[0, :, person].abs().max() < 0.01


def test_what_is_drawn_goes_with_the_place_of_a_head_and_does_not_turn(surface):
    drawn = surface.with_relief(torch.tensor([0.0, -1.0, 1.0])[:, None, None].expand(3, GRID, GRID))
    stays = surface.with_relief(torch.tensor([0.0, -1.0, 0.0])[:, None, None].expand(3, GRID, GRID))
    turned = head(angle=0.5, size=0.7)[None]
    aside = turned + 0.125 * torch.eye(10)[6]
    first, second = (drawn.move(surface.shape[None], where).coverage for where in (turned, aside))
    assert torch.equal(stays.move(surface.shape[None], turned).coverage, first)
    # Above the face, which hides what is drawn with it: an eighth of the side further right.
    torch.testing.assert_close(second[0, 0, 8:14, 16:], first[0, 0, 8:14, 8:-8], atol=0.1, rtol=0)


def test_a_mirror_image_has_the_relief_of_its_photo(surface, face):
    raised = surface.with_relief(lower_follows_less())
    mirror = beside_mirror_images([raised], face)[1]
    kept = raised.rigid > 0.5
    assert torch.equal(mirror.rigid, raised.rigid[kept])
    torch.testing.assert_close(mirror.points[:, 2], raised.points[kept, 2])


def test_what_other_photos_show_is_found(surface):
    faces = other_faces(surface)
    wanted = shown(surface.with_relief(lower_follows_less()), faces)
    found = fitted([surface], faces, wanted)[0]
    error = [(shown(one, faces) - wanted).abs().mean().item() for one in (surface, surface.with_relief(found))]
    assert error[1] < 0.5 * error[0]
    assert found[1, 12:16, GRID // 2].mean() < -0.1 and found[1, :4].abs().mean() < 0.1


@pytest.fixture
def asked(monkeypatch):
    """An avatar of one photo, and crops and mattes of the same person, who turns; their faces are known."""

    def of(true: torch.Tensor, count: int):
        avatar = narrow_avatar(1)
        surface = make_surfaces(avatar.face, avatar.identify(()), SIDE, SIDE)[0]
        heads = [head(angle=0.5 * np.sin(k), place=(0.5 + 0.05 * np.cos(k), 0.5, 0.0)) for k in range(count)]
        faces = Face(surface.shape.expand(count, -1, -1), torch.stack(heads), torch.zeros(count, 4))
        pictures = shown(surface.with_relief(true), faces)
        mattes = pictures[:, 3:]
        monkeypatch.setattr(relief, "_faces", lambda *_: faces)
        return avatar, to_uint8(pictures[:, :3] / mattes.clamp_min(1e-3)), to_uint8(mattes)

    return of


def test_few_photos_are_not_asked(asked):
    avatar, crops, mattes = asked(lower_follows_less(), FEWEST - 1)
    assert with_relief(avatar, crops, mattes) is avatar
    assert avatar.identify(()).relief is None


def test_what_helps_photos_that_took_no_part_is_kept_and_nothing_else(asked, monkeypatch):
    true = lower_follows_less()
    avatar, crops, mattes = asked(true, 2 * FEWEST)
    wrong = true + torch.tensor([0.0, 0.0, 3.0])[:, None, None]
    for offered, kept in ((true, True), (wrong, False)):
        monkeypatch.setattr(relief, "fitted", lambda *_, offered=offered: offered[None].clone())
        found = with_relief(avatar, crops, mattes).identify(()).relief
        assert torch.equal(found[0], true) if kept else not found.any()


def test_an_avatar_keeps_its_relief_in_its_file(tmp_path):
    avatar = narrow_avatar(2)
    known = replace(avatar.identify(()), relief=torch.stack([lower_follows_less()] * 2))
    made = avatar.rebuilt(known).eval()
    save_model(tmp_path / "avatar.safetensors", made, {})
    loaded = load_model(tmp_path / "avatar.safetensors").reenactor.eval()
    pose = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.equal(loaded.show(pose)[0], made.show(pose)[0])
        assert not torch.equal(avatar.show(pose)[0], made.show(pose)[0])
