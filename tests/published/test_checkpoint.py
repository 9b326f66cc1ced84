"""Reading the authors' checkpoints: what is in them, and what is refused."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from published_files import ARGUMENTS, hardly_any, write
from safetensors.torch import save_file

from reenact.published import unpickling
from reenact.published.checkpoint import published_architecture, read_checkpoint
from reenact.runtime.errors import UserError


class Malicious:
    """Unpickled freely, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_in_it(tmp_path, zipped):
    content = hardly_any(generator=OrderedDict(identity_embedding=torch.ones(1, 4)), extra=1)
    found = read_checkpoint(write(tmp_path / "c.pth", content, _use_new_zipfile_serialization=zipped))
    assert (found.form, found.iteration, found.others) == ("finetuned", 12, ("extra",))
    assert torch.equal(found.embedder["a"], torch.ones(2)) and torch.equal(
        found.averages["embedder"]["a"], torch.zeros(2)
    )
    assert found.arguments["data_root"] == "/datasets/VoxCeleb2" and found.arguments["lr_gen"] == 5e-5
    assert set(found.optimizers) == {"optimizer_G"}


def test_no_averages(tmp_path):
    assert read_checkpoint(write(tmp_path / "c.pth", hardly_any(running_averages=None))).averages == {}
    assert read_checkpoint(write(tmp_path / "d.pth", hardly_any(running_averages={}))).form == "meta"


def test_paths_of_newer_pythons():
    find = unpickling.Unpickler(io.BytesIO()).find_class
    assert find("pathlib._local", "PosixPath") is find("pathlib", "PosixPath")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_asks_for_anything_else_is_refused_and_not_run(tmp_path, zipped):
    content = hardly_any(extra=Malicious(tmp_path / "was-run"))
    path = write(tmp_path / "c.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        UserError, match=rf"c\.pth: its pickle asks for {os.name}\.system, which no checkpoint"
    ) as refusal:
        read_checkpoint(path)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    "name",
    ["builtins.eval", "builtins.getattr", "os.system", "torch.load", "torch._utils._rebuild_tensor", "pathlib.Path"],
)
def test_the_list_is_short(name):
    module, _, function = name.rpartition(".")
    with pytest.raises(pickle.UnpicklingError, match=name):
        unpickling.Unpickler(io.BytesIO()).find_class(module, function)


def test_damaged_files(tmp_path):
    whole = write(tmp_path / "whole.pth", hardly_any(big={"c": torch.rand(5000)})).read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut_short": whole[:-500],
        "half": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "empty": b"",
        "text": b"hello, I am no checkpoint\n" * 20,
        "half_a_pickle": pickle.dumps(list(range(500)))[:-9],
    }
    for name, data in damaged.items():
        (tmp_path / f"{name}.pth").write_bytes(data)
        with pytest.raises(UserError, match=rf"{name}\.pth: not a readable checkpoint \(") as refusal:
            read_checkpoint(tmp_path / f"{name}.pth")
        assert "\n" not in str(refusal.value)


def test_other_files(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pth: does not exist"):
        read_checkpoint(tmp_path / "gone.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(UserError, match=r"m\.safetensors: a safetensors file is no checkpoint"):
        read_checkpoint(tmp_path / "m.safetensors")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UserError, match=r"zip\.pth: not a readable checkpoint"):
        read_checkpoint(tmp_path / "zip.pth")
    with zipfile.ZipFile(tmp_path / "program.pth", "w") as archive:
        archive.writestr("program/constants.pkl", "")
    with pytest.raises(UserError, match=r"program\.pth: a TorchScript program"):
        read_checkpoint(tmp_path / "program.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], r"not a checkpoint of the published code \(holds list"),
        (
            {"state_dict": {}},
            r"not a checkpoint .* \(embedder, generator, discriminator, args missing; found: state_dict\)",
        ),
        (hardly_any(args=None), "args missing"),
        (hardly_any(args={"iteration": 1}), "args: dict; expected the command-line arguments"),
        (hardly_any(generator=[torch.ones(1)]), "generator: expected a network's weights, found list"),
        (hardly_any(running_averages={"embedder": {}}), "running_averages: expected embedder and generator"),
    ],
)
def test_other_contents(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_checkpoint(write(tmp_path / "c.pth", content))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generator", "vector_pose"),
        ("embedder", "unsupervised"),
        ("discriminator", "landmarks"),
        ("norm_layer", "bn"),
        ("gen_num_residual_blocks", 3),
        ("image_size", 200),
        ("image_size", "256"),
        ("embed_channels", 0),
        ("dis_num_blocks", 2),
    ],
)
def test_unknown_architectures(tmp_path, name, value):
    with pytest.raises(UserError, match=f"{name} {value!r}: unknown architecture"):
        published_architecture(ARGUMENTS | {name: value}, tmp_path / "c.pth")
