"""Stage import_published: the authors' checkpoints become model files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from published_files import NARROW, narrow, write
from tree import ROOT

from reenact import Avatar, UserError
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.runtime.cli import run
from reenact.settings.files import load_config
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import MetaSettings
from reenact.stages.import_published import import_published
from reenact.training.checkpoint import RunFolder
from reenact.training.learner import Learner
from workflow_scripts.import_published import main

RECIPE = ROOT.parent / "shared" / "parity"


@pytest.fixture(scope="module")
def contents():
    return {"meta": narrow(personal=False), "finetuned": narrow(personal=True)}


def test_a_meta_model(contents, tmp_path, capsys):
    import_published(checkpoint=write(tmp_path / "c.pth", contents["meta"]), model=tmp_path / "m.safetensors")
    net, about, discriminator = load_model(tmp_path / "m.safetensors")
    assert net.architecture == NARROW and net.identity_embedding is None
    theirs = contents["meta"]["running_averages"]["generator"]
    assert torch.equal(net.generator.tail_conv.bias, theirs["decoder_blocks.7.bias"])
    assert torch.equal(
        net.generator.blocks[2].conv1.parametrizations.weight.original, theirs["decoder_blocks.2.block.4.weight_orig"]
    )
    assert torch.equal(
        discriminator["linear.parametrizations.weight.original"],
        contents["meta"]["discriminator"]["linear.weight_orig"],
    )
    assert not any(key.startswith("labels.") for key in discriminator)
    assert (about["form"], about["iteration"], about["weights"], about["source"]) == ("meta", 12, "average", "c.pth")
    assert len(about["sha256"]) == 64
    settings = MetaSettings(**about["settings"])
    assert (settings.batch_size, settings.identity_frames, settings.losses.embedding_match) == (4, 8, 1e-2)
    printed = capsys.readouterr().out
    for line in (
        "a meta-model of the published code, iteration 12, 32 px, 3 labels",
        "ignored    label rows (3)",
        "data_root: paths of that machine",
    ):
        assert line in printed
    avatar, frames = Avatar.load(tmp_path / "m.safetensors", "cpu", "fp32"), torch.rand(2, 3, 32, 32)
    rgb, _ = next(avatar.drive(frames, identity=avatar.identity_embedding(frames).mean(0)))
    assert rgb.shape == (2, 3, 32, 32) and torch.isfinite(rgb).all()


def test_an_avatar(contents, tmp_path):
    import_published(checkpoint=write(tmp_path / "c.pth", contents["finetuned"]), model=tmp_path / "m.safetensors")
    net, about, discriminator = load_model(tmp_path / "m.safetensors")
    assert torch.equal(
        net.identity_embedding, contents["finetuned"]["running_averages"]["generator"]["identity_embedding"]
    )
    assert discriminator == {} and not any("parametrizations" in key for key in net.state_dict())
    settings = FinetuneSettings(**about["settings"])
    assert (settings.optimizer, settings.max_batch, settings.ema) == ("radam", 4, 0.972)
    assert Avatar.load(tmp_path / "m.safetensors", "cpu").personal


def test_raw_weights_and_a_checkpoint_without_averages(contents, tmp_path):
    without = contents["finetuned"] | {"running_averages": {}}
    path = write(tmp_path / "c.pth", without)
    with pytest.raises(UserError, match=r"c\.pth: has no running_averages; take its raw weights with --weights raw"):
        import_published(checkpoint=path, model=tmp_path / "m.safetensors")
    import_published(checkpoint=path, model=tmp_path / "m.safetensors", weights="raw")
    net = load_model(tmp_path / "m.safetensors")[0]
    assert torch.equal(net.identity_embedding, without["generator"]["identity_embedding"])


BUFFERS = ("weight_u", "weight_v", "running_mean", "running_var", "num_batches_tracked")


def with_optimizers(content, personal):
    """The content with optimizers after a step whose gradients were 1, 2, ... ; and the gradient of each parameter."""
    content, gradients = dict(content), {}
    parts = {"optimizer_G": ["generator"] if personal else ["generator", "embedder"], "optimizer_D": ["discriminator"]}
    for optimizer, networks in parts.items():
        named = {(net, key): value for net in networks for key, value in content[net].items()}
        parameters = {
            name: torch.nn.Parameter(value.clone()) for name, value in named.items() if not name[1].endswith(BUFFERS)
        }
        for number, (name, parameter) in enumerate(parameters.items(), start=1):
            parameter.grad = torch.full_like(parameter, number)
            gradients[name] = number
        theirs = torch.optim.Adam(parameters.values(), betas=(0.5, 0.999))
        theirs.step()
        content[optimizer] = theirs.state_dict()
    return content, gradients


@pytest.mark.parametrize("form", ["meta", "finetuned"])
def test_a_checkpoint_of_ours_has_everything_to_go_on(contents, form, tmp_path, capsys):
    personal = form == "finetuned"
    content, gradients = with_optimizers(contents[form], personal)
    import_published(
        checkpoint=write(tmp_path / "c.pth", content), model=tmp_path / "m.safetensors", checkpoint_out=tmp_path / "run"
    )
    assert "with its optimizer states" in capsys.readouterr().out
    step, state = RunFolder(tmp_path / "run").latest(100)
    net = Reenactor(NARROW, personal=personal)
    if personal:
        net.requires_grad_(False)
        net.generator.requires_grad_(True)
        net.identity_embedding.requires_grad_(True)
    settings = FinetuneSettings() if personal else MetaSettings()
    learner = Learner(net, build_discriminator(NARROW, 1 if personal else 3), settings)
    learner.load_state_dict(state)
    assert step == learner.step == 12
    assert torch.equal(net.generator.tail_conv.bias, content["generator"]["decoder_blocks.7.bias"])
    assert torch.equal(
        learner.average.generator.tail_conv.bias, content["running_averages"]["generator"]["decoder_blocks.7.bias"]
    )
    theirs = {
        net.generator.blocks[1].conv2.parametrizations.weight.original: (
            "generator",
            "decoder_blocks.1.block.7.weight_orig",
        ),
        learner.discriminator.labels.parametrizations.weight.original: ("discriminator", "embed.weight_orig"),
    }
    if personal:
        theirs[net.identity_embedding] = ("generator", "identity_embedding")
    else:
        theirs[net.pose_encoder.classifier[1].bias] = ("embedder", "pose_encoder.classifier.1.bias")
        theirs[net.identity_encoder.fc.weight] = ("embedder", "identity_encoder.fc.weight")
    moments = learner.optimizers[0].state | learner.optimizers[1].state
    for parameter, name in theirs.items():
        assert torch.all(moments[parameter]["exp_avg"] == gradients[name] / 2), name
    for optimizer, module in zip(learner.optimizers, (net, learner.discriminator), strict=True):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()


def changed(content, network, key, value):
    """A copy of `content` with one tensor changed (None = left out)."""
    weights = dict(content[network]) | {key: value}
    return content | {network: {k: v for k, v in weights.items() if v is not None}}


def test_refusals_name_the_place_and_leave_nothing(contents, tmp_path):
    whole = contents["finetuned"]
    cases = {
        r"generator\.decoder_blocks\.7\.bias: missing": changed(whole, "generator", "decoder_blocks.7.bias", None),
        r"generator\.decoder_blocks\.7\.bias: has shape \[5\]": changed(
            whole, "generator", "decoder_blocks.7.bias", torch.ones(5)
        ),
        r"discriminator\.more: not a part": changed(whole, "discriminator", "more", torch.ones(5)),
        "has values that are not finite": changed(whole, "discriminator", "linear.bias", torch.full((1,), torch.nan)),
        "running_averages: generator.constant.constant: missing": whole
        | {"running_averages": changed(whole["running_averages"], "generator", "constant.constant", None)},
    }
    for message, content in cases.items():
        path = write(tmp_path / "c.pth", content)
        with pytest.raises(UserError, match=message) as refusal:
            import_published(checkpoint=path, model=tmp_path / "out" / "m.safetensors", checkpoint_out=tmp_path / "run")
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["c.pth"]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        ["import_published", "--checkpoint", str(tmp_path / "gone.pth"), "--model", str(tmp_path / "m.safetensors")],
    )
    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone.pth'}: does not exist\n"


def test_the_workflow_imports_what_meta_source_names(tmp_path):
    media = tmp_path / "a.mp4"
    media.touch()
    checkpoint = tmp_path / "their.pth"
    values = {
        "identities": {"a": {"media": str(media)}},
        "drivers": {"b": {"media": str(media)}},
        "meta": {"source": str(checkpoint)},
        "score": {"descriptor_weights": str(media)},
    }
    with pytest.raises(UserError, match="neither 'train', 'bundled' nor an existing model file"):
        load_config(values)
    checkpoint.touch()
    assert load_config(values).imported_checkpoint() == str(checkpoint)
    assert load_config(values | {"meta": {}}).imported_checkpoint() is None
    with pytest.raises(
        UserError, match=r"their\.pth' is a checkpoint .* need model\.preset: published \(it is small\)"
    ):
        load_config(values | {"model": {"preset": "small"}})


@pytest.mark.skipif(not RECIPE.is_dir(), reason="needs ../shared/parity")
@pytest.mark.parametrize("form", ["meta", "finetuned"])
def test_full_size_checkpoints_of_the_recipe(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    import recipe

    recipe.write_checkpoint(tmp_path / "c.pth", form, "shared")
    import_published(checkpoint=tmp_path / "c.pth", model=tmp_path / "m.safetensors")
    (tmp_path / "c.pth").unlink()
    net, about, discriminator = load_model(tmp_path / "m.safetensors")
    assert net.architecture == PRESETS["published"] and bool(discriminator) == (form == "meta")
    assert about["iteration"] == {"meta": 6, "finetuned": 12}[form]
    expected = np.load(RECIPE / f"expected_{form}.npz")
    avatar, inputs = Avatar.load(tmp_path / "m.safetensors", "cpu", "fp32"), recipe.inputs("shared")
    identity = torch.from_numpy(expected["ema.embeds"]) if form == "meta" else None
    rgb, matte = avatar.render(avatar.pose_embedding(torch.from_numpy(inputs["pose_rgbs"])), identity)
    np.testing.assert_allclose(matte, expected["ema.fake_segm"], atol=1e-3)
    np.testing.assert_allclose(rgb, expected["ema.fake_rgbs"].clip(0, 1), atol=1e-3)
