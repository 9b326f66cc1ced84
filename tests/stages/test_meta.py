"""Stage meta on synthetic people."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from people import write_person

import reenact.training.loop
import workflow_scripts.meta
from reenact.data.clip import Clip
from reenact.data.training_clips import Clips
from reenact.models.model_file import load_model
from reenact.runtime.errors import UserError
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings
from reenact.stages.meta import MetaOutputs, dry_run_meta, make_meta_model
from reenact.training.checkpoint import Runs
from reenact.training.schedule import cosine_decay

SMALL = ModelSettings(preset="small")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return [write_person(folder, name, 6) for name in ("red", "green")]


def job(clips, **settings):
    """Arguments that training and its dry run share."""
    defaults = {"perceptual_width": 0.1, "batch_size": 2, "identity_frames": 1}
    return {
        "clips": Clips(*zip(*clips, strict=True)),
        "device": "cpu",
        "settings": MetaSettings(**{**defaults, **settings}),
        "model": SMALL,
    }


def make(clips, folder, **settings):
    outputs = MetaOutputs(
        folder / "model.safetensors", folder / "curves.csv", folder / "metrics.json", folder / "preview.png"
    )
    make_meta_model(**job(clips, **settings), outputs=outputs, runs=Runs(folder / "runs", code="c"))
    return outputs


def test_training_writes_model_curves_and_preview(clips, tmp_path):
    outputs = make(clips, tmp_path, steps=3, checkpoint_every=2)
    net, about, discriminator = load_model(outputs.model)
    assert net.identity_embedding is None and discriminator
    assert about["clips"] == ["red", "green"] and about["steps"] == 3
    curves = pd.read_csv(outputs.curves)
    assert curves.step.tolist() == [1, 2, 3]
    assert {"adversarial", "feature_matching", "perceptual", "dice", "embedding_match", "discriminator"} <= set(curves)
    assert curves.pose_response.notna().tolist() == [False, True, True]
    assert cv2.imread(str(outputs.preview)).shape == (3 * 64, 7 * 64, 3)
    facts = json.loads(outputs.metrics.read_text())
    assert (
        facts["steps"] == 3
        and facts["million_parameters"]["generator"] > 1
        and facts["last"]["pose_response"] >= 0
        and facts["best"] is None
    )


def test_frozen_norms_stay_as_they_were_before_the_first_step(clips, tmp_path):
    def statistics(folder, **settings):
        net = load_model(make(clips, tmp_path / folder, **settings).model)[0]
        return torch.cat([buffer.flatten() for name, buffer in net.named_buffers() if name.endswith("running_mean")])

    assert torch.equal(
        statistics("frozen", steps=1, frozen_norms=True), statistics("frozen", steps=3, frozen_norms=True)
    )
    assert not torch.equal(statistics("batch", steps=1), statistics("batch", steps=3))


def test_frozen_norms_leave_dropout_on(clips, tmp_path, monkeypatch):
    def seen(learner, *rest):
        encoders = (learner.reenactor.identity_encoder, learner.reenactor.pose_encoder)
        modes.update((type(layer).__base__, layer.training) for encoder in encoders for layer in encoder.modules())
        return real(learner, *rest)

    modes, real = {}, reenact.training.loop.backward
    monkeypatch.setattr(reenact.training.loop, "backward", seen)
    make(clips, tmp_path, steps=1, frozen_norms=True)
    assert modes[torch.nn.Dropout] and not modes[torch.nn.BatchNorm2d]


def test_more_steps_go_on_from_the_last_run_but_other_settings_do_not(clips, tmp_path, monkeypatch, capsys):
    make(clips, tmp_path, steps=2)
    loads, read = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **how: loads.append(path) or read(path, **how))
    make(clips, tmp_path, steps=3)
    assert len(loads) == 1, "a checkpoint is read once"
    assert "resuming from step 2 (" in capsys.readouterr().out
    make(clips, tmp_path, steps=3, learning_rate=1e-3)
    assert "resuming" not in capsys.readouterr().out


def test_learning_rates_fall_over_the_last_share_of_the_steps(clips, tmp_path):
    rates = [cosine_decay(8, 0.5)(step) for step in range(1, 9)]
    assert rates[:5] == [1] * 5 and rates[6] == pytest.approx(0.5) and 0.1 < rates[7] < 0.2

    def constant(folder, **settings):
        return load_model(make(clips, tmp_path / folder, ema=0.0, **settings).model)[0].generator.constant

    first = constant("first", steps=1)
    torch.testing.assert_close(
        2 * (constant("falling", steps=2, decay=1.0) - first), constant("plain", steps=2) - first, atol=1e-6, rtol=0.01
    )


def test_a_longer_run_with_falling_rates_is_another_run(clips, tmp_path, capsys):
    rows = pd.read_csv(make(clips, tmp_path, steps=2, decay=1.0).curves)
    assert (rows["learning_rate"] / 5e-5).tolist() == pytest.approx([1, 0.5])
    make(clips, tmp_path, steps=3, decay=1.0)
    assert "resuming" not in capsys.readouterr().out


def test_training_may_start_from_another_run(clips, tmp_path, capsys):
    first = make(clips, tmp_path / "first", steps=1)
    (run,) = (tmp_path / "first" / "runs").iterdir()
    second = make(clips[:1], tmp_path / "second", steps=1, seed=2, start=str(run))
    assert "starting from step 1 of" in (printed := capsys.readouterr().out) and "label rows begin anew" in printed
    before, after = (
        load_model(made.model)[0].generator.tail_conv.parametrizations.weight.original for made in (first, second)
    )
    assert 0 < (before - after).abs().max() < 1e-3
    with pytest.raises(UserError, match=r"meta\.start: 'gone' holds no checkpoint"):
        make(clips, tmp_path / "x", steps=1, start="gone")


def test_a_warm_up_may_go_before_a_start_too_and_changes_the_pose_encoder_alone(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(Clip, "landmarks", lambda clip: np.random.default_rng(0).random((len(clip), 68, 2), np.float32))
    first = make(clips, tmp_path / "first", steps=1, pose_warmup=2)
    run = only_run(tmp_path / "first")
    still = {"steps": 1, "seed": 2, "start": run, "learning_rate": 1e-9, "ema": 0.999}
    plain, warmed = (
        make(clips, tmp_path / name, **still, **extra)
        for name, extra in (("plain", {"pose_warmup": 2}), ("warmed", {"start_warmup": 2}))
    )
    nets = [load_model(made.model)[0] for made in (first, plain, warmed)]
    for part in ("generator.constant", "identity_encoder.fc.weight"):
        torch.testing.assert_close(nets[2].get_parameter(part), nets[0].get_parameter(part), atol=1e-5, rtol=0)
    moved = [
        (net.pose_encoder.classifier[1].weight - nets[0].pose_encoder.classifier[1].weight).abs().max().item()
        for net in nets[1:]
    ]
    assert moved[0] < 1e-7 < 5e-6 < moved[1]
    with pytest.raises(
        UserError,
        match=r"meta\.start_warmup: 2 needs meta\.start; before a training from scratch it is meta\.pose_warmup",
    ):
        make(clips, tmp_path / "x", steps=1, start_warmup=2)


def only_run(folder):
    (run,) = (folder / "runs").iterdir()
    return str(run)


def test_a_run_goes_on_with_other_settings_if_told_to(clips, tmp_path, capsys):
    make(clips, tmp_path / "first", steps=2)
    run = only_run(tmp_path / "first")
    second = make(clips, tmp_path / "second", steps=3, learning_rate=1e-6, resume=run)
    assert f"meta: going on from step 2 of {run}" in capsys.readouterr().out
    curves = pd.read_csv(second.curves)
    assert curves.step.tolist() == [1, 2, 3] and curves.learning_rate.tolist() == [5e-5, 5e-5, 1e-6]


def test_what_cannot_change_when_a_run_goes_on_is_refused_by_name(clips, tmp_path):
    make(clips, tmp_path / "first", steps=1)
    run = only_run(tmp_path / "first")
    refused = r"meta\.resume: '.*' cannot go on with other "
    with pytest.raises(
        UserError, match=refused + r"people: was 2 \(red, green\), is 1 \(red\)\. meta\.start takes over what fits"
    ):
        make(clips[:1], tmp_path / "x", steps=2, resume=run)
    with pytest.raises(UserError, match=refused + r"meta\.optimizer: was 'adam', is 'radam'"):
        make(clips, tmp_path / "x", steps=2, resume=run, optimizer="radam")
    with pytest.raises(UserError, match=r"meta\.resume: 'gone' holds no checkpoint"):
        make(clips, tmp_path / "x", steps=2, resume="gone")
    with pytest.raises(UserError, match="exclude each other"):
        make(clips, tmp_path / "x", steps=2, resume=run, start=run)
    about = Path(run, "about.json")
    about.write_text(about.read_text().replace('"model.preset": "small"', '"model.preset": "mini"'))
    with pytest.raises(UserError, match=refused + r"model\.preset: was 'mini', is 'small'"):
        make(clips, tmp_path / "x", steps=2, resume=run)


@pytest.mark.parametrize("state", [{"step": 1, "model": {}}, {"step": 1, "networks": [{}, {}, {}], "optimizers": []}])
def test_a_checkpoint_of_another_version_is_refused(clips, tmp_path, state):
    torch.save(state, tmp_path / "checkpoint_00000001.pt")
    for key in ("resume", "start"):
        with pytest.raises(UserError, match=rf"meta\.{key}: the checkpoint of step 1 in .* is none of meta-learning"):
            make(clips, tmp_path / "x", steps=2, **{key: str(tmp_path)})


def test_fewer_samples_at_a_time_where_memory_runs_out(clips, tmp_path, monkeypatch, capsys):
    real, sizes = reenact.training.loop.backward, []

    def scarce(learner, micro_batches, *others):
        sizes.append([len(batch.driver) for batch in micro_batches])
        if len(micro_batches[0].driver) > 1 or learner.step == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(learner, micro_batches, *others)

    monkeypatch.setattr(reenact.training.loop, "backward", scarce)
    make(clips, tmp_path, steps=1)
    assert (
        sizes == [[2], [1, 1]] and "meta: out of memory with 2 samples at a time; trying 1" in capsys.readouterr().out
    )
    with pytest.raises(
        UserError, match=r"out of memory with 1 samples at a time; raise meta\.accumulate, or set meta\.precision: bf16"
    ):
        make(clips, tmp_path, steps=2)


def test_a_dry_run_says_what_training_needs_and_writes_nothing(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dry_run_meta(**job(clips, steps=7200))
    printed = capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    seconds = float(re.search(r"dry run: ([\d.e-]+) s a step", printed)[1])
    hours = float(re.search(r"7200 steps take about ([\d.e-]+) hours", printed)[1])
    assert hours == pytest.approx(2 * seconds, rel=0.02)
    assert "dry run: generator: 5.7" in printed and re.search(r"most memory \d+ MB a process", printed)


def test_settings_and_where_they_come_from_are_printed(clips, tmp_path, capsys):
    make(clips, tmp_path, steps=1, learning_rate=3e-4, ema=0.9, mirror=0.5)
    flags = [
        "--settings",
        "{ema: 0.8, mirror: 0.25}",
        "--mirror",
        "0.1",
        "--losses.pixel",
        "2",
        "--resume",
        only_run(tmp_path),
        "--print-settings",
    ]
    workflow_scripts.meta.main(flags)
    printed = capsys.readouterr().out.splitlines()
    assert {
        "meta.learning_rate: 0.0003  (checkpoint)",
        "meta.ema: 0.8  (settings file)",
        "meta.mirror: 0.1  (command line)",
        "meta.losses.pixel: 2.0  (command line)",
        "meta.losses.dice: 1.0  (checkpoint)",
        'meta.name: "meta"  (default)',
        'model.preset: "small"  (checkpoint)',
    } <= set(printed)
