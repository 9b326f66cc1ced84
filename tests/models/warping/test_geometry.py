"""Meshes, surfaces and splatting."""

import cv2
import numpy as np
import pytest
import torch
from face_shapes import head, mesh, photo

from reenact.models.warping.compose import inside, sample
from reenact.models.warping.expression import LEFT_LIDS, RIGHT_LIDS
from reenact.models.warping.face_model import FaceModel, align, place, rotation
from reenact.models.warping.mesh import EYES, INNER_LIPS, POINTS, MeanFace
from reenact.models.warping.reference import Reference, beside_mirror_images, nearness, straight
from reenact.models.warping.splat import fill, splat
from reenact.models.warping.surface import MIDDLE, build_surface


@pytest.fixture(scope="module")
def face():
    model = FaceModel(POINTS, 4, 2, 8)
    model.mean.copy_(torch.from_numpy(mesh()))
    return model


@pytest.fixture(scope="module")
def reference(face):
    return Reference(face, photo(), (mesh() + np.array([0.5, 0.5, 0])).astype(np.float32), 64)


def test_align_finds_where_a_head_is():
    wanted = head((0.4, 0.6, 0.1), 0.5, 1.3)
    placed = place(torch.from_numpy(mesh()).float()[None], wanted[None])
    heads = align(placed.double().numpy(), mesh())
    np.testing.assert_allclose(heads.numbers()[0], wanted, atol=1e-5)
    np.testing.assert_allclose(heads.canonical(placed.double().numpy())[0], mesh(), atol=1e-6)


def test_a_rotation_is_one_whatever_was_read():
    turned = rotation(torch.randn(5, 10))
    torch.testing.assert_close(turned @ turned.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turned), torch.ones(5))


def test_triangles_cover_every_point_once_and_mirroring_is_its_own_inverse():
    assert set(MeanFace(mesh()).triangles.ravel()) == set(range(POINTS))
    swapped = MeanFace(mesh()).mirrored
    assert (swapped[swapped] == np.arange(POINTS)).mean() > 0.9


def test_the_nearer_of_two_points_is_seen():
    at = torch.full((1, 2, 2), 0.5) + 0.5 / 8
    means, coverage = splat(at, torch.tensor([[0.1, -0.1]]), torch.tensor([[[1.0], [5.0]]]), 8)
    assert means[0, 0, 4, 4].item() == pytest.approx(5, abs=1e-4)
    assert coverage.sum().item() == pytest.approx(2)


def test_points_outside_the_picture_land_nowhere():
    _, coverage = splat(torch.tensor([[[-3.0, 0.5], [0.5, 9.0]]]), torch.zeros(1, 2), torch.ones(1, 2, 1), 8)
    assert not coverage.any()


def test_fill_keeps_what_is_known_and_carries_it_on():
    values, known = torch.full((1, 1, 16, 16), 3.0), torch.zeros(1, 1, 16, 16)
    known[..., :8] = 1
    filled = fill(values * known, known)
    torch.testing.assert_close(filled, values, atol=1e-4, rtol=0)


def test_a_photo_that_stays_where_it_is_does_not_change(face, reference):
    moved = reference.move(reference.shape[None], reference.head[None])
    on_person = torch.from_numpy(photo()[..., 3] > 0)
    assert moved.flow[0, :, on_person].abs().max() < 0.01
    assert moved.coverage[0, 0, 20:44, 20:44].min() > 0.9


def test_a_head_that_moves_takes_its_picture_along(reference):
    wanted = reference.head.clone()
    wanted[6] += 0.125
    moved = reference.move(reference.shape[None], wanted[None])
    picture = sample(reference.image[None], moved.flow)[0]
    # The middle of the face lies 8 px further right, and its red says where it came from.
    assert picture[0, 30, 40].item() == pytest.approx(reference.image[0, 30, 32].item(), abs=0.02)


def test_a_turned_head_hides_its_far_side(reference):
    wanted = head(angle=0.6)
    moved = reference.move(reference.shape[None], wanted[None])
    assert moved.flow.isfinite().all()
    assert (moved.coverage[0, 0] > 0.5).sum() < (straight(photo())[3] > 0.5).sum()


def test_a_person_goes_on_beside_and_below_a_photo_but_not_above(face):
    placed = mesh() + np.array([0.5, 0.5, 0])
    surface = build_surface(placed, face.align(placed[None]), np.ones((64, 64), np.float32), face.mean_face(), 64)
    x, y, _ = surface.points.T
    assert x.min() < 0 and x.max() > 1 and y.max() > 1 and y.min() >= 0


def test_what_surrounds_a_face_lies_behind_it_and_no_deeper_than_the_middle_of_the_head(face):
    placed = place(face.mean[None], head((0.5, 0.5, 0.1), size=0.8)[None])[0].double().numpy()
    surface = build_surface(placed, face.align(placed[None]), photo()[..., 3] / 255, face.mean_face(), 64)
    across = np.abs(surface.points[:, 0] - 0.5)
    depth = surface.points[:, 2]
    height = np.ptp(mesh()[:, 1])
    middle = 0.1 + 0.8 * (mesh()[:, 2].max() + MIDDLE * height)
    far, on_face = across > 0.35, across < 0.1
    np.testing.assert_allclose(depth[far], middle, atol=0.01)
    assert depth.max() < middle + 0.01 and depth[on_face].min() < placed[:, 2].min() + 0.05


def test_teeth_go_with_the_skull_and_lips_with_the_expression(face):
    placed = mesh() + np.array([0.5, 0.5, 0])
    surface = build_surface(placed, face.align(placed[None]), np.ones((64, 64), np.float32), face.mean_face(), 128)
    lips = placed[list(INNER_LIPS), :2].astype(np.float32)
    depth = np.array([cv2.pointPolygonTest(lips, (float(x), float(y)), True) for x, y, _ in surface.points])
    assert (depth > 0.005).sum() > 10 and (surface.elastic[depth > 0.005] == 0).all()
    assert surface.elastic[(depth < -0.01) & (depth > -0.04)].min() > 0.9


def test_between_the_lips():
    outline = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]])
    found = inside(outline, 16)[0, 0]
    assert found[4:12, 4:12].min() == 1 and found.sum() == 64


def test_the_reference_that_is_most_like_the_wanted_face_counts_most(face, reference):
    other = Reference(face, photo(), (place(face.mean[None], head(angle=0.5)[None])[0]).numpy(), 64)
    near = nearness([reference, other], reference.shape[None], reference.head[None])
    assert near[0, 0].item() == pytest.approx(0, abs=1e-3) and near[0, 1] < -1


def test_a_mirror_image_is_the_mirrored_photo(face):
    """As a reference it is what would be made of the mirrored photo, and it moves the person's other side."""
    placed = place(face.mean[None], head((0.45, 0.52, 0.02), 0.3, 0.9)[None])[0]
    there = placed[face.mean_face().mirrored] * torch.tensor([-1.0, 1.0, 1.0]) + torch.tensor([1.0, 0.0, 0.0])
    ours = Reference(face, photo(), placed.numpy(), 64).mirrored(face)
    theirs = Reference(face, np.ascontiguousarray(photo()[:, ::-1]), there.numpy(), 64)
    for name in ("image", "shown", "head", "shape"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=2e-3, rtol=0, msg=name)
    moved = [one.move(face.mean[None], head(angle=-0.2)[None]) for one in (ours, theirs)]
    both = (moved[0].coverage > 0.5) & (moved[1].coverage > 0.5)
    assert both.sum() > 0.9 * (moved[1].coverage > 0.5).sum() and ours.flipped and ours.rigid.min() > 0.5
    assert ((moved[0].flow - moved[1].flow).abs() * both).mean() < 0.01


def test_few_photos_are_shown_beside_their_mirror_images(face, reference):
    for count, mirrored in ((1, 1), (2, 2), (3, 1), (4, 0), (5, 0)):
        shown = beside_mirror_images([reference] * count, face)
        assert [one.flipped for one in shown] == [False] * count + [True] * mirrored


def test_lips_are_a_closed_outline():
    assert len(set(INNER_LIPS)) == len(INNER_LIPS) == 20


def shut(shape, lids):
    """The shape with the upper lid on the lower one."""
    closed_shape = shape.clone()
    closed_shape[..., list(lids[1]), 1] = shape[..., list(lids[0]), 1]
    return closed_shape


def test_a_shut_eye_has_the_colour_of_its_lashes_and_the_other_one_stays(face):
    """In the middle of the hole a white eye would be squeezed to a line."""
    side = 512
    picture = np.full((side, side, 4), 200, np.uint8)
    picture[..., 3] = 255
    middle = (mesh() + np.array([0.5, 0.5, 0])).astype(np.float32)
    outlines = [np.rint(middle[list(outline), :2] * side).astype(np.int32) for outline in EYES]
    for outline in outlines:
        cv2.fillPoly(picture, [outline], (255, 255, 255, 255))
        cv2.polylines(picture, [outline], True, (0, 0, 0, 255), 5)
    x, y = np.rint([outline.mean(0) for outline in outlines]).astype(int).T
    reference = Reference(face, picture, middle, 64)
    shape, where = reference.shape[None], reference.head[None]
    torch.testing.assert_close(reference.move(shape, where).shown, reference.shown)
    for eye, lids, mirrored in ((0, RIGHT_LIDS, LEFT_LIDS), (1, LEFT_LIDS, RIGHT_LIDS)):
        shown = reference.move(shut(shape, lids), where).shown[0, 0]
        assert shown[y[eye], x[eye]] < 0.3 and shown[y[1 - eye], x[1 - eye]] > 0.9
        other = reference.mirrored(face)
        there = other.move(shut(other.shape[None], mirrored), where).shown[0, 0].flip(-1)
        torch.testing.assert_close(there, shown)


def test_a_rim_of_the_wall_behind_a_person_gets_the_persons_own_colour():
    picture = np.zeros((128, 128, 4), np.uint8)
    picture[..., :3] = 255
    picture[40:, 40:90] = 255  # white, but the person's matte
    picture[41:, 41:89, :3] = 20
    rgb, matte = straight(picture).split([3, 1])
    assert (rgb[:, 40:, 40:90] * 255 < 21).all()
    assert (matte[0] == torch.from_numpy(picture[..., 3] / np.float32(255))).all()
