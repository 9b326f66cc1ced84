"""Stage meta on synthetic people."""

import cv2
import pandas as pd
import pytest
from people import write_person

from reenact.errors import UserError
from reenact.meta import Clips, MetaOutputs, make_meta_model
from reenact.model import Reenactor, load_model, save_model
from reenact.networks.architecture import PRESETS
from reenact.settings.meta import MetaSettings
from reenact.settings.model import ModelSettings

SMALL = ModelSettings(preset="small")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return [write_person(folder, name, 6) for name in ("red", "green")]


def make(clips, folder, **settings):
    outputs = MetaOutputs(folder / "model.safetensors", folder / "curves.csv", folder / "metrics.json", folder / "preview.png")
    make_meta_model(
        clips=Clips(*zip(*clips)), outputs=outputs, runs=folder / "runs", device="cpu", code="c",
        settings=MetaSettings(**{"perceptual_width": 0.1, "batch_size": 2, "identity_frames": 1, **settings}),
        model_settings=SMALL,
    )  # fmt: skip
    return outputs


def test_training_writes_model_curves_and_preview(clips, tmp_path):
    outputs = make(clips, tmp_path, steps=3, checkpoint_every=2)
    net, about, judge = load_model(outputs.model)
    assert net.identity_embedding is None and judge
    assert about["clips"] == ["red", "green"] and about["steps"] == 3
    curves = pd.read_csv(outputs.curves)
    assert curves.step.tolist() == [1, 2, 3]
    assert {"adversarial", "feature_matching", "perceptual", "dice", "embedding_match", "discriminator"} <= set(curves)
    assert curves.pose_response.notna().tolist() == [False, True, True]
    assert cv2.imread(str(outputs.preview)).shape == (3 * 64, 7 * 64, 3)


def test_more_steps_go_on_from_the_last_run_but_other_settings_do_not(clips, tmp_path, capsys):
    make(clips, tmp_path, steps=2)
    make(clips, tmp_path, steps=3)
    assert "resuming from step 2 of 3" in capsys.readouterr().out
    make(clips, tmp_path, steps=3, learning_rate=1e-3)
    assert "resuming" not in capsys.readouterr().out


def test_a_model_file_is_taken_as_it_is(clips, tmp_path):
    made = make(clips, tmp_path / "made", steps=1)
    taken = make(clips, tmp_path / "taken", source=str(made.model))
    assert taken.model.read_bytes() == made.model.read_bytes()
    with pytest.raises(UserError, match=r"gone\.safetensors: not a readable model"):
        make(clips, tmp_path / "x", source="gone.safetensors")


def test_training_may_start_from_another_run(clips, tmp_path, capsys):
    first = make(clips, tmp_path / "first", steps=1)
    (run,) = (tmp_path / "first" / "runs").iterdir()
    second = make(clips[:1], tmp_path / "second", steps=1, seed=2, start=str(run))
    assert "starting from step 1 of" in (printed := capsys.readouterr().out) and "label rows begin anew" in printed
    before, after = (load_model(made.model)[0].generator.tail_conv.parametrizations.weight.original for made in (first, second))
    assert 0 < (before - after).abs().max() < 1e-3
    with pytest.raises(UserError, match=r"meta\.start: 'gone' holds no checkpoint"):
        make(clips, tmp_path / "x", steps=1, start="gone")


def test_an_avatar_is_no_meta_model(clips, tmp_path):
    save_model(tmp_path / "a.safetensors", Reenactor(PRESETS["small"], personal=True), {})
    with pytest.raises(UserError, match=r"an avatar, which is one person's; meta\.source needs a meta-model"):
        make(clips, tmp_path / "x", source=str(tmp_path / "a.safetensors"))
