"""Edits of faces: groups that follow less or more, relative motion, retargeting, and controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from face_shapes import NARROW, head, narrow_avatar, narrow_model

from reenact.avatar import Avatar
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.pose_edit import Control, PoseEdit
from reenact.models.reenactor import Reenactor
from reenact.models.warping.expression import EXPRESSION, MOVEMENTS, Expressions, Face, measure, turned
from reenact.models.warping.face_model import HEAD, rotation
from reenact.runtime.errors import UserError
from reenact.settings.meta import BUNDLED_MODELS

POSES = torch.randn(3, NARROW.pose_dim, generator=torch.Generator().manual_seed(1))
OPEN = Control("mouth_open", "mouth", -1, 1, "", 0.99, 0.1, "smile", 0.01, {"mouth_open": 1.0})
YAW = Control("yaw", "head", -20, 20, "degrees", 0.99, 0.1, "smile", 0.01, {"yaw": 1.0, "mouth_open": 0.01})


@pytest.fixture(scope="module")
def net():
    net = narrow_avatar()
    net.controls = {"mouth_open": OPEN, "yaw": YAW}
    return net


@pytest.fixture(scope="module")
def driven(net):
    return net._driven(None)


@pytest.fixture(scope="module")
def bundled():
    return Expressions(load_model(BUNDLED_MODELS["warping"]).reenactor.face)


def assert_same(found: Face, expected: Face, tolerance: float = 1e-5) -> None:
    for name, value in vars(expected).items():
        got = getattr(found, name)
        if name == "head":  # what matters of its first numbers is the rotation
            got, value = (torch.cat([rotation(h).flatten(1), h[:, 6:]], 1) for h in (got, value))
        torch.testing.assert_close(got, value.expand_as(got), rtol=0, atol=tolerance)


def test_an_edit_that_does_nothing_is_no_edit(net):
    for plain, edited in zip(net.show(POSES), net.show(POSES, edit=PoseEdit(gains={"mouth": 1.0})), strict=True):
        assert torch.equal(plain, edited)


def test_gains_of_0_keep_what_the_person_has_and_half_is_half_way(driven):
    said = driven.said(POSES)
    still = driven.edited(POSES, PoseEdit(gains=dict.fromkeys(("mouth", "eyes", "brows", "head"), 0.0)))
    assert_same(still, driven.own)
    half = driven.edited(POSES, PoseEdit(gains=dict.fromkeys(("mouth", "eyes", "brows"), 0.5)))
    torch.testing.assert_close(half.shape, (said.shape + driven.own.shape) / 2)
    torch.testing.assert_close(half.head, said.head)


def test_expression_only_keeps_the_head_and_head_only_the_expression(driven):
    said = driven.said(POSES)
    expression = driven.edited(POSES, PoseEdit(gains={"head": 0.0}))
    assert_same(expression, replace(said, head=driven.own.head))
    only_head = driven.edited(POSES, PoseEdit(gains=dict.fromkeys(EXPRESSION, 0.0)))
    assert_same(only_head, replace(driven.own, head=said.head))


def test_a_head_goes_half_as_far(driven):
    angles = [0.1, 0.5]
    found = Expressions(driven.face).following(
        Face(driven.own.shape, head(angle=angles[0])[None], driven.own.blendshapes),
        Face(driven.own.shape, head(angle=angles[1])[None], driven.own.blendshapes),
        PoseEdit(gains={"head": 0.5}),
    )
    torch.testing.assert_close(rotation(found.head), rotation(head(angle=0.3)[None]), atol=1e-5, rtol=0)


def test_relative_motion_starts_from_the_persons_own_face(driven):
    calm = driven.face.read(POSES).blendshapes.square().mean(1).argmin()
    found = driven.edited(POSES, PoseEdit(relative=True, driver=POSES))
    said = driven.said(POSES)
    assert_same(Face(*(value[calm][None] for value in vars(found).values())), driven.own)
    torch.testing.assert_close(found.shape - driven.own.shape, said.shape - said.shape[calm], atol=1e-5, rtol=0)


def test_relative_motion_needs_the_driver(net):
    with pytest.raises(UserError, match="needs its neutral frame"):
        net.show(POSES, edit=PoseEdit(relative=True))


@pytest.mark.parametrize(("name", "axis", "seen"), [("yaw", (2, 0), 1), ("pitch", (2, 1), 1), ("roll", (1, 0), 1)])
def test_signs_of_the_head_are_those_of_head_angles(name, axis, seen):
    degrees = [20.0 * (name == other) for other in ("yaw", "pitch", "roll")]
    turn = rotation(turned(head()[None], degrees))[0]
    nose, top = turn @ torch.tensor([0.0, 0.0, -1.0]), turn @ torch.tensor([0.0, -1.0, 0.0])
    moved = {"yaw": nose[0], "pitch": -nose[1], "roll": top[0]}[name]
    assert moved == pytest.approx(np.sin(np.radians(20)), abs=1e-5)


def test_parts_share_every_point(bundled):
    torch.testing.assert_close(bundled.parts.sum(0), torch.ones(bundled.parts.shape[1]))
    torch.testing.assert_close(bundled.owners.sum(0), torch.ones(52))


def test_each_movement_changes_its_own_measure_alone(bundled):
    for name in MOVEMENTS:
        face = Face(bundled.face.mean[None], torch.zeros(1, HEAD), torch.zeros(1, 52))
        moved = bundled.moved(face, bundled.face.mean[None], {name: 0.5}).shape - bundled.face.mean
        changes = {other: float(measure(moved[0], m.measure)) / bundled.spread(other) for other, m in MOVEMENTS.items()}
        own = changes.pop(name)
        assert abs(own) > 0.5 and max(map(abs, changes.values())) < 0.02 * abs(own)


def test_a_blink_closes_lids_of_any_opening(bundled):
    wide = bundled.face.mean[None].clone()
    wide[:, [386, 387, 385], 1] -= 0.01
    face = Face(wide, torch.zeros(1, HEAD), torch.zeros(1, 52))
    closed = bundled.moved(face, wide, {"blink_left": 1.0}).shape
    assert float(measure(closed, MOVEMENTS["blink_left"].measure)) == pytest.approx(0, abs=1e-4)
    assert float(measure(closed, MOVEMENTS["blink_right"].measure)) == pytest.approx(
        float(measure(wide, MOVEMENTS["blink_right"].measure)), abs=1e-4
    )


@pytest.mark.parametrize("opening", [0.0, 0.5, 1.0])
def test_retargeted_lids_open_as_a_fraction_of_the_persons_own(bundled, opening):
    lid = MOVEMENTS["blink_left"].measure

    def eyes(gap: float) -> torch.Tensor:
        face = Face(bundled.face.mean[None], torch.zeros(1, HEAD), torch.zeros(1, 52))
        usual = -float(measure(bundled.face.mean, lid))
        return bundled.moved(face, bundled.face.mean[None], {"blink_left": 1 - gap / usual}).shape

    def as_face(shape: torch.Tensor) -> Face:
        return Face(shape, torch.zeros(len(shape), HEAD), torch.zeros(len(shape), 52))

    person, drivers = eyes(0.04), torch.cat([eyes(0.02 * opening), eyes(0.02)])
    found = bundled.retargeted(as_face(person), as_face(person), as_face(drivers), PoseEdit(retarget=("eyes",)))
    assert -float(measure(found.shape, lid)) == pytest.approx(0.04 * opening, abs=1e-4)


def test_retargeted_lips_close_where_the_drivers_do(bundled):
    mean, lips = bundled.face.mean[None], MOVEMENTS["mouth_open"].measure
    blank = torch.zeros(1, HEAD), torch.zeros(1, 52)
    shut = mean - float(measure(mean, lips)) * bundled._fields["mouth_open"]
    found = bundled.retargeted(
        Face(mean, *blank),
        Face(mean, *blank),
        Face(torch.cat([shut, mean]), torch.zeros(2, HEAD), torch.zeros(2, 52)),
        PoseEdit(retarget=("lips",)),
    )
    assert float(measure(found.shape, lips)) == pytest.approx(0, abs=1e-4)


def test_a_still_of_the_person_and_what_is_asked_of_it(net):
    avatar = Avatar(net, {}, torch.device("cpu"))
    assert list(avatar.controls()) == ["mouth_open", "yaw"]
    still, turned_still = avatar.render(None)[0], avatar.render(None, edit={"yaw": 15})[0]
    assert still.shape == (1, 3, 64, 64) and (still - turned_still).abs().mean() > 1e-3
    with pytest.raises(UserError, match=r"control 'smirk': this model does not offer it \(it offers: mouth_open, yaw"):
        avatar.render(None, edit={"smirk": 0.1})
    with pytest.raises(UserError, match="control yaw: 50 degrees; allowed: -20 to 20 degrees"):
        avatar.render(None, edit={"yaw": 50})
    with pytest.raises(UserError, match="control yaw: nan"):
        avatar.render(None, edit={"yaw": float("nan")})


def test_controls_are_stored_and_inherited(net, tmp_path):
    meta = narrow_model()
    meta.controls = net.controls
    save_model(tmp_path / "meta.safetensors", meta, {"stage": "meta"})
    loaded, metadata, _ = load_model(tmp_path / "meta.safetensors")
    assert loaded.controls == net.controls and metadata == {"stage": "meta"}


def test_the_other_family_refuses_in_one_line():
    avatar = Avatar(Reenactor(PRESETS["small"], personal=True), {}, torch.device("cpu"))
    assert avatar.controls() == {}
    for edit in (PoseEdit(gains={"head": 0.0}), PoseEdit(relative=True), {"smile": 0.5}):
        with pytest.raises(UserError, match="a model of the constant family knows no parts of a face"):
            avatar.render(torch.zeros(1, avatar.pose_dim), edit=edit)
    with pytest.raises(UserError, match="constant family"):
        avatar.render(None)
    assert avatar.render(torch.zeros(1, avatar.pose_dim), edit=PoseEdit())[0].shape[0] == 1


def test_the_bundled_model_offers_what_was_measured():
    controls = load_model(BUNDLED_MODELS["warping"]).reenactor.controls
    assert {"mouth_open", "smile", "blink_left", "blink_right", "brows", "gaze_x", "yaw", "roll"} <= set(controls)
    for control in controls.values():
        assert control.low < 0 < control.high and control.mixture[control.name] == 1
        assert control.correlation >= 0.8 and control.leak <= 1 / 3 and control.identity <= 0.05
