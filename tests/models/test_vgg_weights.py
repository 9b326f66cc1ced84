"""Weights of the perceptual networks: files are recognised, checked and fed in their scale, or refused in one line."""

import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file

from reenact.models import vgg_weights
from reenact.models.vgg import CAFFE, LAYOUTS, PUBLISHED, TORCHVISION, VGGFACE, PerceptualNetwork
from reenact.models.vgg_weights import perceptual_network
from reenact.runtime.errors import UserError


def vgg_tensors(layout, name):
    """A state dict of full width that takes no space; every convolution has a number of its own."""
    tensors, channels, index, number = {}, 3, 0, 0
    block, place = 1, 0
    for outputs in LAYOUTS[layout]:
        if not outputs:
            index, block, place = index + 1, block + 1, 0
            continue
        number, place = number + 1, place + 1
        prefix = {"torchvision": f"features.{index}", "bare": str(index), "caffe": f"conv{block}_{place}"}[name]
        tensors[f"{prefix}.weight"] = torch.tensor(float(number)).expand(outputs, channels, 3, 3)
        tensors[f"{prefix}.bias"] = torch.tensor(-float(number)).expand(outputs)
        channels, index = outputs, index + 2
    return tensors | {"classifier.0.weight": torch.zeros(1)}


def numbered(network):
    return [(conv.weight[0, 0, 0, 0].item(), conv.bias[0].item()) for conv in network.convs]


@pytest.mark.parametrize("layout, scale", [("vgg19", CAFFE), ("vgg16", VGGFACE)])
@pytest.mark.parametrize("name", ["torchvision", "bare", "caffe"])
def test_files_in_every_naming(tmp_path, layout, scale, name):
    path = tmp_path / "weights.pth"
    torch.save(vgg_tensors(layout, name), path, _use_new_zipfile_serialization=name != "caffe")
    network, described = perceptual_network(str(path), layout)
    assert numbered(network) == [(i, -i) for i in range(1, 14)]
    assert network.scale == scale and str(path) in described
    assert perceptual_network(str(path), layout, published=True)[0].scale == PUBLISHED


def test_torch_hubs_file_is_known_by_its_hash(tmp_path, monkeypatch):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(vgg_tensors("vgg19", "torchvision"), path)
    assert perceptual_network(str(path), "vgg19")[0].scale == CAFFE, "a name proves nothing"
    monkeypatch.setattr(vgg_weights, "HUB_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    network, described = perceptual_network(str(path), "vgg19")
    assert network.scale == TORCHVISION and described.startswith("torchvision's VGG-19")


def test_a_download_needs_all_digits_of_its_hash(tmp_path, monkeypatch):
    """A file whose SHA-256 begins as the hub's file's, and goes on otherwise, is another file."""
    path = tmp_path / "elsewhere.pth"
    torch.save(vgg_tensors("vgg19", "torchvision"), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(vgg_weights, "HUB", path.as_uri())
    monkeypatch.setattr(vgg_weights, "HUB_SHA256", digest[:8] + "0" * 56)
    with pytest.raises(UserError, match=f"perceptual_weights: .*found {digest}.* give its path"):
        perceptual_network("torchvision", "vgg19")
    assert not list((tmp_path / "hub").rglob("*.pth"))
    monkeypatch.setattr(vgg_weights, "HUB_SHA256", digest)
    assert perceptual_network("torchvision", "vgg19")[0].scale == TORCHVISION
    kept = tmp_path / "hub" / "checkpoints" / "elsewhere.pth"
    kept.write_bytes(b"damaged since")
    with pytest.raises(UserError, match=r"elsewhere\.pth is not the expected file"):
        perceptual_network("torchvision", "vgg19")


def test_safetensors_are_read(tmp_path):
    tensors = {f"{n}.{p}": t for n, p, t in small_file()}
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"0\.weight has shape \[2, 3, 3, 3\], not \[64, 3, 3, 3\]"):
        perceptual_network(str(tmp_path / "weights.safetensors"), "vgg19")


def small_file():
    return [("0", "weight", torch.zeros(2, 3, 3, 3)), ("0", "bias", torch.zeros(2))]


def test_wrong_files_are_refused_in_one_line(tmp_path):
    def refused(content, layout="vgg19"):
        path = tmp_path / "weights.pth"
        path.unlink(missing_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(UserError) as error:
            perceptual_network(str(path), layout)
        assert "\n" not in str(error.value) and str(path) in str(error.value)
        return str(error.value)

    assert "perceptual_weights: " in refused(None) and "does not exist" in refused(None)
    assert "face_perceptual_weights" in refused(b"not weights", "vgg16")
    assert "not a readable file of weights" in refused(pickle.dumps(Harm()))
    assert "holds no state dict" in refused([torch.zeros(1)])
    assert "it begins with 'layer1.weight'" in refused({"layer1.weight": torch.zeros(1)})
    assert "is not a vgg19: features.16.weight is missing" in refused(vgg_tensors("vgg16", "torchvision"))
    assert "belongs into perceptual_weights" in refused(vgg_tensors("vgg19", "torchvision"), "vgg16")


class Harm:
    """What an unrestricted pickle could do."""

    def __reduce__(self):
        return print, ("harm done",)


def test_without_internet_torchvision_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(vgg_weights, "HUB", "http://127.0.0.1:9/vgg19.pth")
    with pytest.raises(UserError, match=r"perceptual_weights: .*cannot be downloaded .* give its path"):
        perceptual_network("torchvision", "vgg19")
    with pytest.raises(UserError, match="no network of faces"):
        perceptual_network("torchvision", "vgg16")


def test_scales():
    """Mid-grey after the mean is taken off: the published form sees it too bright."""
    grey = torch.full((1, 3, 16, 16), 0.5)
    seen = {}
    for name, scale in (("caffe", CAFFE), ("published", PUBLISHED)):
        network = PerceptualNetwork(0.1, scale=scale)
        seen[name] = ((grey - network.mean) / network.std)[0, :, 0, 0]
    torch.testing.assert_close(seen["caffe"], 127.5 - torch.tensor([103.939, 116.779, 123.680]))
    torch.testing.assert_close(seen["published"], 0.75 * 255 - torch.tensor([103.939, 116.779, 123.680]))
