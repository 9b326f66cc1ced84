"""Stage meta with the warping family, on small pictures of two people."""

import os
import re
import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from face_shapes import NARROW as NARROW_WARPING
from narrow import NARROW
from people import write_person
from torch import multiprocessing
from warping_models import seeing_model, write_seeing_model

from reenact.data.training_clips import Clips
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor
from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.stages.meta import MetaOutputs, dry_run_meta, make_meta_model
from reenact.training.checkpoint import Runs


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    write_seeing_model(folder)
    for name, frames in (("red", 10), ("green", 1)):  # one of them is known by a single still
        write_person(folder, name, frames)
    return folder


def job(room, names=("red", "green"), **settings):
    """Arguments that training and its dry run share."""
    clips = [[room / name / file for name in names] for file in ("crops.zip", "mattes.zip")]
    values = {"preset": "warping", "decay": 0.0, "rise": 0, "perceptual_width": 0.1, "batch_size": 2, "ema": 0.9}
    values |= {"start": str(room / "start.safetensors"), "warping": {"references": [1, 2]}, "validate_frames": 1}
    return {
        "clips": Clips(*clips),
        "device": "cpu",
        "threads": 1,
        "settings": MetaSettings.model_validate(values | settings),
        "model": ModelSettings(preset="warping"),
    }


def make(room, folder, **settings):
    names = ("model.safetensors", "curves.csv", "metrics.json", "preview.png")
    outputs = MetaOutputs(*(folder / name for name in names))
    make_meta_model(**job(room, **settings), outputs=outputs, runs=Runs(folder / "runs", code="c"))
    return outputs


def weights(outputs):
    return load_model(outputs.model).reenactor.state_dict()


def test_the_refiner_learns_from_one_still_and_nothing_else_changes(room, tmp_path):
    outputs = make(room, tmp_path, names=["green"], steps=40, learning_rate=5e-3, checkpoint_every=40)
    before, after = seeing_model().state_dict(), weights(outputs)
    assert before.keys() == after.keys()
    for name, value in after.items():
        assert torch.equal(value, before[name]) != name.startswith("refiner."), name
    curves = pd.read_csv(outputs.curves)
    assert curves.step.tolist() == list(range(1, 41)) and "discriminator" not in curves
    for term in ("pixel", "generated", "perceptual", "matte"):
        assert curves[term][-10:].mean() < 0.75 * curves[term][:10].mean(), term
    assert outputs.preview.exists() and '"refiner"' in outputs.metrics.read_text()


def test_the_pose_encoder_learns_on_where_photos_move_as_it_says(room, tmp_path):
    said = {"references": [1], "stills": 0, "said": 1}
    outputs = make(room, tmp_path, names=["red"], steps=2, ema=0.0, encoder_rate=0.1, warping=said)
    before, after = seeing_model().state_dict(), weights(outputs)
    changed = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"refiner", "pose_encoder"}
    assert {"mesh", "blendshapes"} <= set(pd.read_csv(outputs.curves))


@pytest.mark.parametrize("said", [0, 0.5])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(room, tmp_path, capsys, said):
    warping = {"references": [1, 2], "said": said}
    whole = weights(make(room, tmp_path / "whole", steps=4, warping=warping))
    make(room, tmp_path / "halves", steps=2, warping=warping)
    resumed = weights(make(room, tmp_path / "halves", steps=4, loaders=0, warping=warping))
    assert pd.read_csv(tmp_path / "halves" / "curves.csv")["mfu"].gt(0).all()
    printed = capsys.readouterr()
    assert "resuming from step 2" in printed.out and printed.err.count("faces of clips: 100%") == 2
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_another_start_is_another_run(room, tmp_path, capsys):
    make(room, tmp_path, steps=1)
    model = seeing_model()
    torch.nn.init.constant_(model.refiner.enter.bias, 0.1)
    save_model(tmp_path / "other.safetensors", model, {})
    make(room, tmp_path, steps=1, start=str(tmp_path / "other.safetensors"))
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_run_begins_with_or_goes_on_with_another(room, tmp_path, capsys):
    first = make(room, tmp_path / "first", steps=2, ema=0.0)
    (run,) = (tmp_path / "first" / "runs").iterdir()
    began = make(room, tmp_path / "began", steps=1, start=str(run), learning_rate=1e-9, ema=0.0)
    assert "meta: starting from step 2 of" in capsys.readouterr().out
    name = "refiner.enter.weight"
    before, learned, ours = seeing_model().state_dict()[name], weights(first)[name], weights(began)[name]
    assert (ours - learned).abs().max() < 1e-6 < 1e-4 < (ours - before).abs().max()
    went_on = make(room, tmp_path / "on", steps=3, start=None, resume=str(run))
    assert pd.read_csv(went_on.curves).step.tolist() == [1, 2, 3]


def test_a_model_from_before_mirror_images_learns_them(room, tmp_path):
    before = seeing_model(replace(NARROW_WARPING, mirrored=False))
    assert "refiner.mirror" not in before.state_dict()
    save_model(tmp_path / "before.safetensors", before, {})
    outputs = make(room, tmp_path, steps=2, start=str(tmp_path / "before.safetensors"), ema=0.0)
    after = load_model(outputs.model).reenactor
    assert after.architecture.mirrored and after.refiner.mirror.abs().max() > 0


def test_what_is_no_start_is_refused(room, tmp_path):
    def refused(message, **settings):
        with pytest.raises(UserError, match=message):
            make(room, tmp_path, steps=1, **settings)

    refused(r"meta\.start: null; with model\.preset: warping, training begins with a model file", start=None)
    refused(r"meta\.start: 'gone' is no run folder of the warping family", start="gone")
    save_model(tmp_path / "constant.safetensors", Reenactor(NARROW), {})
    refused("is a model of the constant family; allowed: a meta-model", start=str(tmp_path / "constant.safetensors"))
    picture = np.full((1, 64, 64, 3), 90, np.uint8)
    avatar = seeing_model().personalised(picture, np.full((1, 64, 64), 255, np.uint8), 1)
    save_model(tmp_path / "avatar.safetensors", avatar, {})
    refused("is an avatar; allowed: a meta-model", start=str(tmp_path / "avatar.safetensors"))


def test_a_dry_run_says_what_training_needs(room, capsys):
    dry_run_meta(**job(room, steps=7200))
    printed = capsys.readouterr().out
    assert re.search(r"dry run: refiner: 0\.\d+ million parameters", printed) and "s a step" in printed
    assert "discriminator" not in printed


def worker(rank, port, room, folder, settings):
    """One of two processes, as torchrun starts them."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in ranks.items()} | {"MASTER_ADDR": "localhost"}
    make(room, folder, **settings)


def test_two_processes_equal_one(room, tmp_path):
    """Up to rounding, of which Adam's first steps make much where a gradient is next to nothing."""
    settings = {"steps": 3, "learning_rate": 1e-4, "checkpoint_every": 1}
    one = make(room, tmp_path / "one", **settings)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(worker, (port, room, tmp_path / "two", settings), nprocs=2)
    rows = [pd.read_csv(tmp_path / name / "curves.csv") for name in ("one", "two")]
    for term in ("pixel", "generated", "eyes_mouth", "generated_inside_lips", "matte", "photo", "share", "perceptual"):
        np.testing.assert_allclose(rows[1][term], rows[0][term], rtol=1e-3, err_msg=term)
    np.testing.assert_allclose(rows[1]["gradient_norm"], rows[0]["gradient_norm"], rtol=1e-3)
    ours, theirs = weights(one), load_model(tmp_path / "two" / "model.safetensors").reenactor.state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=3e-4, rtol=1e-3, msg=name)
