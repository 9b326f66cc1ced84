"""Settings of the training of the warping family."""

import pytest
from pydantic import ValidationError

from reenact.settings.meta import MetaSettings
from reenact.settings.problems import problems_of
from reenact.settings.workflow import Config


def about_start(**meta):
    config = Config(
        identities={"anna": {"media": "anna.mp4"}},
        drivers={"ben": {"media": "ben.mp4"}},
        model={"preset": "warping"},
        meta={"source": "train", "preset": "warping", **meta},
        finetune={"sweep": []},
    )
    return [line for line in problems_of(config) if line.startswith("meta.")]


def test_the_preset_is_below_what_is_set():
    settings = MetaSettings(preset="warping", ema=0.9)
    assert (settings.learning_rate, settings.decay, settings.batch_size, settings.ema) == (1e-3, 1.0, 8, 0.9)
    assert settings.warping.references == [1, 1, 3]


@pytest.mark.parametrize("references", [[], [0], [1, 17]])
def test_numbers_of_references_are_checked(references):
    with pytest.raises(ValidationError, match=r"warping\.references"):
        MetaSettings(warping={"references": references})


def test_each_family_is_fine_tuned_in_its_own_way():
    def about_finetuning(model, **finetune):
        people = {"identities": {"anna": {"media": "anna.mp4"}}, "drivers": {"ben": {"media": "ben.mp4"}}}
        config = Config(**people, model={"preset": model}, finetune=finetune)
        return [line for line in problems_of(config) if line.startswith("finetune.")]

    (line,) = about_finetuning("warping", sweep=[50])
    assert line.startswith("finetune.preset: 'published' is not for model.preset: warping; allowed: warping")
    (line,) = about_finetuning("mini", preset="warping", sweep=[50])
    assert "allowed: published or mini" in line
    assert about_finetuning("warping", sweep=[50], preset="warping") == about_finetuning("warping") == []
    assert about_finetuning("mini", sweep=[50], preset="mini") == about_finetuning("warping", sweep=[]) == []


def test_larger_pictures_need_larger_crops():
    def about_size(model, crop):
        people = {"identities": {"anna": {"media": "anna.mp4"}}, "drivers": {"ben": {"media": "ben.mp4"}}}
        config = Config(**people, model={"preset": model}, finetune={"image_size": 512}, crop={"size": crop})
        return [line for line in problems_of(config) if line.startswith("finetune.")]

    assert about_size("warping", 512) == []
    assert about_size("warping", 256) == [
        "finetune.image_size: 512 needs crops as large; set crop.size: 512 (it is 256)"
    ]
    (line,) = about_size("mini", 512)
    assert line.startswith("finetune.image_size: 512 is for model.preset: warping (it is mini)")


def test_what_a_training_begins_with_is_there(tmp_path):
    assert about_start() == [], "stage fit makes it"
    (gone,) = about_start(start="gone.safetensors")
    assert gone.startswith("meta.start: 'gone.safetensors' does not exist")
    start = tmp_path / "start.safetensors"
    start.touch()
    assert about_start(start=str(start)) == [] and MetaSettings(start=str(start)).start_files() == [str(start)]
    assert about_start(start=str(tmp_path)) == [] and MetaSettings(start=str(tmp_path)).start_files() == []
