"""The public face: `from reenact import Avatar`."""

import subprocess
import sys
from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
from person_clips import swaying
from videos import write_video

from reenact import Avatar, UserError
from reenact.data.images import fit, frame_by_frame
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor

SMALL = PRESETS["small"]


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(3)
    net = Reenactor(SMALL, personal=True)
    torch.nn.init.normal_(net.identity_embedding)
    return net.eval()


@pytest.fixture(scope="module")
def avatar(nets, tmp_path_factory):
    path = tmp_path_factory.mktemp("avatar") / "avatar.safetensors"
    save_model(path, nets, {"iteration": 7})
    return Avatar.load(path, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def meta(nets, tmp_path_factory):
    path = tmp_path_factory.mktemp("meta") / "meta.safetensors"
    save_model(path, Reenactor(SMALL).eval(), {})
    return Avatar.load(str(path), device="cpu", precision="fp32")


def frames(count, size=64):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count))


def test_importing_the_package_does_not_import_torch():
    code = "import reenact, sys; print(reenact.__version__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"


def test_it_shows_what_the_networks_make(nets, avatar):
    assert (avatar.image_size, avatar.pose_dim, avatar.identity_dim) == (64, 64, 256)
    assert avatar.personal and avatar.metadata == {"iteration": 7}
    pose = avatar.pose_embedding(frames(3))
    rgb, matte = avatar.render(pose)
    with torch.no_grad():
        expected, expected_matte = nets.generator(nets.identity_embedding.expand(3, -1), nets.pose_encoder(frames(3)))
    torch.testing.assert_close(rgb, expected.clamp(0, 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(matte, expected_matte, atol=1e-5, rtol=1e-4)
    assert (pose.shape, rgb.shape, matte.shape) == ((3, 64), (3, 3, 64, 64), (3, 1, 64, 64))


def test_bfloat16_shows_nearly_the_same_picture(nets):
    exact, coarse = (Avatar(deepcopy(nets), {}, torch.device("cpu"), name) for name in ("fp32", "bf16"))
    pose = coarse.pose_embedding(frames(2))
    torch.testing.assert_close(pose, exact.pose_embedding(frames(2)), atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(exact.render(pose), coarse.render(pose), strict=True):
        assert ours.dtype == theirs.dtype == torch.float32
        assert 0 < (ours - theirs).square().mean().sqrt() < 0.01


def test_frames_of_any_size_are_brought_to_its_own(avatar):
    large = frames(2, 192)
    exact = large.view(2, 3, 64, 3, 64, 3).mean((3, 5))
    torch.testing.assert_close(avatar.pose_embedding(large), avatar.pose_embedding(exact), atol=1e-5, rtol=1e-4)
    assert avatar.pose_embedding(frames(2, 40)).shape == (2, 64)


@pytest.mark.parametrize("side", [64, 100, 48, 37])
def test_fit_is_what_opencv_does(side):
    image = np.random.default_rng(0).random((side, side, 3), dtype=np.float32)
    found = fit(torch.from_numpy(image).permute(2, 0, 1)[None], 48)[0].permute(1, 2, 0).numpy()
    how = cv2.INTER_AREA if side > 48 else cv2.INTER_CUBIC
    np.testing.assert_allclose(found, np.clip(cv2.resize(image, (48, 48), interpolation=how), 0, 1), atol=2e-3)


def test_a_meta_model_must_be_told_whom_to_show(meta):
    assert not meta.personal
    pose = meta.pose_embedding(frames(2))
    with pytest.raises(UserError, match="a meta-model has no identity of its own"):
        meta.render(pose)
    with pytest.raises(UserError, match="a meta-model has no identity of its own"):
        meta.drive(frames(2))
    embeddings = meta.identity_embedding(frames(2))
    mean = embeddings.mean(0)
    assert embeddings.shape == (2, 256)
    torch.testing.assert_close(meta.render(pose, mean)[0], meta.render(pose, mean[None])[0])
    torch.testing.assert_close(next(meta.drive(frames(2), identity=mean))[0], meta.render(pose, mean.expand(2, -1))[0])


def test_driving_streams_in_batches_that_do_not_matter(avatar):
    images = np.random.default_rng(0).integers(0, 255, (5, 128, 128, 3), dtype=np.uint8)
    read = []

    def reading():
        for number, image in enumerate(images):
            read.append(number)
            yield image

    batches = avatar.drive(reading(), batch_size=2)
    first = next(batches)
    assert read == [0, 1] and first[0].shape == (2, 3, 64, 64) and first[1].shape == (2, 1, 64, 64)
    by_two = [first, *batches]
    assert [len(rgb) for rgb, _ in by_two] == [2, 2, 1]
    at_once = next(avatar.drive(torch.from_numpy(images).permute(0, 3, 1, 2) / 255, batch_size=8))
    torch.testing.assert_close(torch.cat([rgb for rgb, _ in by_two]), at_once[0], atol=1e-4, rtol=1e-3)
    single = list(frame_by_frame(avatar.drive(images)))
    assert single[4][0].shape == (64, 64, 3) and single[4][1].shape == (64, 64) and single[0][0].dtype == np.uint8


def test_adjust_sees_the_descriptors_in_order(avatar):
    seen = []

    def still(pose):
        seen.append(pose)
        return torch.zeros_like(pose)

    outputs = torch.cat([rgb for rgb, _ in avatar.drive(frames(5), batch_size=2, adjust=still)])
    torch.testing.assert_close(torch.cat(seen), avatar.pose_embedding(frames(5)), atol=1e-4, rtol=1e-3)
    assert (outputs - outputs[:1]).abs().max() < 1e-3
    with pytest.raises(UserError, match=r"pose: shape \(2, 3\)"):
        next(avatar.drive(frames(2), adjust=lambda pose: pose[:, :3]))


def test_a_video_is_cropped_and_followed(avatar, tmp_path):
    path = write_video(tmp_path / "driver.mp4", swaying(6))
    outputs = [rgb for rgb, _ in avatar.drive(path, batch_size=4)]
    assert [len(rgb) for rgb in outputs] == [4, 2]
    assert torch.cat(outputs).std(0).max() > 0
    with pytest.raises(UserError, match=r"gone\.mp4"):
        next(avatar.drive(str(tmp_path / "gone.mp4")))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(3, 64, 64), r"frames: \(3, 64, 64\); needed: a tensor B x 3 x H x H"),
        (torch.zeros(1, 3, 64, 32), r"frames: \(1, 3, 64, 32\); needed"),
        (
            torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
            r"frames: type torch\.uint8; needed: floating point in \[0, 1\]",
        ),
        (torch.full((1, 3, 64, 64), 255.0), r"frames: values from 255 to 255; needed: RGB in \[0, 1\]"),
        (torch.full((1, 3, 64, 64), float("nan")), "frames: values from nan"),
        (np.zeros((1, 64, 64, 3)), r"frames: \(1, 64, 64, 3\); needed: a tensor"),
    ],
)
def test_wrong_frames_are_named(avatar, wrong, message):
    with pytest.raises(UserError, match=message):
        avatar.pose_embedding(wrong)


def test_other_mistakes(avatar):
    with pytest.raises(UserError, match=r"frames: float64 \(64, 64, 3\); needed: a tensor N x 3"):
        next(avatar.drive([np.zeros((64, 64, 3))]))
    with pytest.raises(UserError, match=r"identity: shape \(3, 256\); needed: 1 x 256"):
        avatar.render(avatar.pose_embedding(frames(2)), torch.zeros(3, 256))
    with pytest.raises(UserError, match="batch_size: 0 must be at least 1"):
        avatar.drive(frames(2), batch_size=0)
