"""A model of the warping family: shapes, gradients, files, and what it refuses."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from face_shapes import NARROW, narrow_avatar, narrow_model, photo
from safetensors import safe_open
from safetensors.torch import save_file

from reenact.avatar import Avatar
from reenact.models.model_file import load_model, save_model
from reenact.models.warping.architecture import WarpingArchitecture
from reenact.models.warping.compose import highest_above
from reenact.models.warping.network import GIVEN
from reenact.models.warping.reenactor import WarpingReenactor, blended, in_two_bands
from reenact.models.warping.references import choose, clear, sharpness
from reenact.runtime.errors import UserError


@pytest.fixture(scope="module")
def net():
    return narrow_model()


@pytest.fixture(scope="module")
def person():
    picture = photo(64)
    crops = [np.roll(picture[..., :3], shift, axis=1) for shift in (0, 2, 4)]
    return crops, [picture[..., 3]] * 3


@pytest.fixture(scope="module")
def avatar():
    return narrow_avatar()


def test_pictures_have_the_size_of_the_architecture(avatar):
    with torch.no_grad():
        rgb, matte = avatar.show(torch.randn(3, NARROW.pose_dim))
    assert rgb.shape == (3, 3, 64, 64) and matte.shape == (3, 1, 64, 64)
    for values in (rgb, matte):
        assert values.min() >= 0 and values.max() <= 1 and values.isfinite().all()


def test_the_picture_follows_the_descriptor(avatar):
    with torch.no_grad():
        rgb, _ = avatar.show(20 * torch.eye(NARROW.pose_dim)[:2])
    assert (rgb[0] - rgb[1]).abs().mean() > 1e-4


def test_gradients_reach_the_refiner(avatar):
    refiner = avatar.refiner.requires_grad_(True)
    rgb, matte = avatar.show(torch.randn(2, NARROW.pose_dim))
    (rgb.mean() + matte.mean()).backward()
    reached = {name for name, value in refiner.named_parameters() if value.grad is not None and value.grad.any()}
    assert {"leave.weight", "flow.weight"} <= reached
    refiner.requires_grad_(False)


def test_a_file_gives_the_same_pictures(avatar, tmp_path):
    save_model(tmp_path / "avatar.safetensors", avatar, {"stage": "finetune"})
    pose = torch.randn(2, NARROW.pose_dim)
    loaded = load_model(tmp_path / "avatar.safetensors").reenactor.eval()
    assert loaded.personal and loaded.family == "warping"
    with torch.no_grad():
        for before, after in zip(avatar.show(pose), loaded.show(pose), strict=True):
            torch.testing.assert_close(before, after)


def test_what_was_loaded_in_inference_mode_drives(avatar, tmp_path):
    save_model(tmp_path / "avatar.safetensors", avatar, {"stage": "finetune"})
    with torch.inference_mode():
        loaded = Avatar.load(tmp_path / "avatar.safetensors", "cpu")
        assert loaded.render(torch.zeros(1, NARROW.pose_dim))[0].shape == (1, 3, 64, 64)
    assert loaded.render(torch.ones(1, NARROW.pose_dim))[0].shape == (1, 3, 64, 64)


def test_a_file_from_before_waves_were_read_is_read_as_it_was(tmp_path):
    """Its architecture does not name them, and its read-outs are linear."""
    net = narrow_model(replace(NARROW, waves=0))
    save_model(tmp_path / "new.safetensors", net, {})
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["reenact"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    del about["architecture"]["waves"]
    save_file(tensors, tmp_path / "old.safetensors", metadata={"reenact": json.dumps(about)})
    loaded = load_model(tmp_path / "old.safetensors").reenactor
    pose = torch.randn(3, NARROW.pose_dim)
    assert loaded.face.readout.shape[0] == NARROW.pose_dim + 1
    torch.testing.assert_close(loaded.face.read(pose).shape, net.face.read(pose).shape)


def test_half_precision_keeps_the_face_model_exact(net, tmp_path):
    save_model(tmp_path / "half.safetensors", net, {}, half=True)
    loaded = load_model(tmp_path / "half.safetensors").reenactor
    torch.testing.assert_close(loaded.face.readout, net.face.readout, rtol=0, atol=0)
    assert not torch.equal(loaded.mesh_network.mesh.weight, net.mesh_network.mesh.weight)


def test_an_avatar_drives_as_of_the_other_family(avatar, person):
    public = Avatar(avatar, {}, torch.device("cpu"), "fp32")
    crops, _ = person
    ((rgb, matte),) = public.drive(iter(crops), batch_size=8)
    assert rgb.shape == (3, 3, 64, 64) and matte.shape == (3, 1, 64, 64)
    assert public.personal and public.image_size == 64


def test_bfloat16_shows_nearly_the_same_picture(avatar):
    exact, coarse = (Avatar(deepcopy(avatar), {}, torch.device("cpu"), name) for name in ("fp32", "bf16"))
    pose = torch.zeros(2, NARROW.pose_dim)
    for ours, theirs in zip(exact.render(pose), coarse.render(pose), strict=True):
        assert ours.dtype == theirs.dtype == torch.float32
        assert (ours - theirs).square().mean().sqrt() < 0.01


def test_a_meta_model_shows_whom_it_is_given(net, person):
    public = Avatar(net, {}, torch.device("cpu"), "fp32")
    crops, mattes = person
    ((rgb, _),) = public.drive(iter(crops), identity=public.identify(crops, mattes))
    assert rgb.shape == (3, 3, 64, 64)


def test_what_it_cannot_show_is_refused(net, avatar, person):
    public = Avatar(net, {}, torch.device("cpu"), "fp32")
    with pytest.raises(UserError, match=r"avatar.identify\(crops, mattes\)"):
        public.render(torch.zeros(1, NARROW.pose_dim))
    with pytest.raises(UserError, match="moves photos: it needs mattes"):
        public.identify(person[0])
    with pytest.raises(UserError, match="no identity embeddings"):
        public.identity_embedding(torch.zeros(1, 3, 64, 64))
    with pytest.raises(UserError, match="an embedding"):
        avatar.show(torch.zeros(1, NARROW.pose_dim), torch.zeros(1, 8))
    with pytest.raises(UserError, match="no photo"):
        net.identify([], [])


def test_architecture_survives_json_and_refuses_others():
    assert WarpingArchitecture.from_json(NARROW.to_json(), "file") == NARROW
    with pytest.raises(UserError, match=r"file: unknown architecture \(differs in: depth\)"):
        WarpingArchitecture.from_json(NARROW.to_json() | {"depth": 3}, "file")


def test_a_file_from_before_mirror_images_shows_none(avatar, net):
    sizes = {name: value for name, value in NARROW.to_json().items() if name != "mirrored"}
    assert WarpingArchitecture.from_json(sizes, "file") == replace(NARROW, mirrored=False)
    pose = net.pose_encoder(torch.rand(1, 3, 256, 256))
    before = WarpingReenactor(replace(NARROW, mirrored=False), avatar.identify(())).eval()
    before.load_state_dict({key: value for key, value in avatar.state_dict().items() if key in before.state_dict()})
    assert [one.flipped for one in before._driven(None).references] == [False] * 2
    assert [one.flipped for one in avatar._driven(None).references] == [False] * 2 + [True] * 2
    assert not torch.equal(before.show(pose)[0], avatar.show(pose)[0])


def test_a_mirror_image_gives_its_outline_and_colours_where_no_photo_lands(net):
    """Its pose is nearer, and it alone lands on the right half."""
    given = torch.rand(1, 2, GIVEN, 32, 32)
    given[:, :, 4] = 1
    given[:, 0, 4, :, 16:] = 0
    answer = net.refiner(
        given, torch.zeros(1, 1, 32, 32), torch.zeros(1, 4), torch.tensor([[-6.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    )
    assert answer["confidence"][0, 1].min() > 0.9
    assert answer["colours"][0, 0, ..., :14].min() > 0.99 and answer["colours"][0, 1, ..., 18:].min() > 0.99


def test_photos_are_sharp_and_differ(net):
    poses = torch.zeros(4, NARROW.pose_dim)
    poses[3] = 300
    read = net.face.read(poses)
    assert len(choose(read, np.array([0, 2, 3]), torch.zeros(4, 5, 3), 2)) == 2
    assert list(clear(np.array([1.0, 0.1, 1.0, 1.0]), np.zeros(4), 4)) == [0, 2, 3]
    assert clear(np.ones(4), np.array([0.5, 0.0, 0.5, 0.5]), 1)[0] == 1


def test_sharpness_tells_a_blurred_picture():
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    matte = np.full((64, 64), 255, np.uint8)
    flat = np.full_like(random, 128)
    assert sharpness(random, matte) > 10 > sharpness(flat, matte)


def test_an_avatar_keeps_some_photos_and_has_the_weights_of_the_meta_model(net, person):
    state, avatar = net.state_dict(), net.personalised(*person, count=2)
    assert isinstance(avatar, WarpingReenactor) and avatar.own.photos.shape == (2, 64, 64, 4)
    assert all(torch.equal(state[key], value) for key, value in avatar.state_dict().items() if key in state)


def test_several_photos_give_tones_together_and_details_one_by_one():
    random = torch.Generator().manual_seed(0)
    dark, bright = (tone + 0.1 * torch.randn(1, 4, 64, 64, generator=random) for tone in (0.2, 0.8))
    weights = torch.tensor([0.6, 0.4]).reshape(1, 2, 1, 1).expand(-1, -1, 64, 64)
    blend = in_two_bands([dark, bright], weights)
    assert abs(blend.mean() - 0.44) < 0.01, "six tenths of one tone, four of the other"
    assert blend.std() > 0.8 * dark.std() > 1.05 * (0.6 * dark + 0.4 * bright).std(), "and not softer for it"
    alone = in_two_bands([dark], torch.ones(1, 1, 64, 64))
    assert torch.allclose(alone, dark, atol=1e-6)


def test_a_photo_has_no_colour_where_it_shows_nobody():
    nobody, somebody = torch.zeros(1, 4, 64, 64), torch.ones(1, 4, 64, 64)
    trusted = torch.tensor([0.9, 0.1])[None, :, None, None].expand(1, 2, 64, 64)
    even = torch.full((1, 2, 64, 64), 0.5)
    rgb, matte = blended([nobody, somebody], even, trusted).split([3, 1], 1)
    torch.testing.assert_close(matte, torch.full_like(matte, 0.5))
    torch.testing.assert_close(rgb / matte, torch.ones_like(rgb), atol=0.01, rtol=0)


def test_above_everything_that_landed_there_is_nobody():
    landed = torch.zeros(1, 1, 6, 6)
    landed[..., 2, 1], landed[..., 4, 1], landed[..., 3, 4] = 1.0, 0.5, 0.7
    gate = highest_above(landed)[0, 0]
    assert gate[:, 1].tolist() == [0, 0, 1, 1, 1, 1] and gate[:, 0].sum() == 0
    torch.testing.assert_close(gate[:, 4], torch.tensor([0, 0, 0, 0.7, 0.7, 0.7]))


def test_pictures_stay_within_their_range(net):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255
    one = net.personalised([stripes], [np.full((64, 64), 255, np.uint8)], 1)
    with torch.no_grad():
        rgb, _ = one.show(0.1 * torch.randn(4, NARROW.pose_dim, generator=torch.Generator().manual_seed(0)))
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert rgb.max() > 0.9, "and yet it is bright"
