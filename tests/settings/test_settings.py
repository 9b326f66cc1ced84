"""Every mistake in the configuration is one clear line, found before any job starts."""

import copy
import json

import pytest
import yaml
from tree import ROOT

from reenact.runtime.errors import UserError
from reenact.settings.files import load_config, repeated_keys
from reenact.settings.finetune import FinetuneSettings
from reenact.settings.meta import MetaSettings
from reenact.settings.origin import settings_of
from reenact.settings.reference import reference_text, schema_text
from reenact.settings.saved_run import saved_settings
from reenact.settings.training import AugmentSettings, LossWeights
from reenact.settings.workflow import Config

SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text())
FINETUNED = SHIPPED | {"model": {"preset": "mini"}, "finetune": {"preset": "mini"}}
"""The shipped configuration with the family that is fine-tuned."""


def changed(**places):
    """That configuration with nested keys replaced; `a__b=1` is a.b = 1."""
    values = copy.deepcopy(FINETUNED)
    for place, value in places.items():
        *parents, leaf = place.split("__")
        target = values
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = value
    return values


def message(values, repeated=()):
    with pytest.raises(UserError) as error:
        load_config(values, "config.yaml", repeated)
    return str(error.value)


def test_the_shipped_configuration_is_valid_and_short():
    config = load_config(SHIPPED)
    assert len((ROOT / "config.yaml").read_text().splitlines()) <= 40
    assert config.model.preset == "warping" and config.meta.source == "bundled"
    assert load_config(FINETUNED).finetune == FinetuneSettings(preset="mini")


def test_reference_and_schema_are_current():
    """`make config` writes them."""
    assert reference_text() == (ROOT / "docs" / "settings.md").read_text()
    assert schema_text() == (ROOT / "docs" / "config.schema.json").read_text()


def test_the_reference_says_all_of_a_setting():
    lines = reference_text().splitlines()
    row = next(line for line in lines if line.startswith("| `finetune.losses.pixel` "))
    assert row.startswith(
        "| `finetune.losses.pixel` | `0.0` | `10.0` |  | number at least 0 | L1 between output and target"
    )
    names = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert len(names) == len(set(names)) and {"crop.no_face.drivers", "identities.NAME.holdout"} < set(names)


def test_a_preset_is_below_what_is_set():
    mini = FinetuneSettings(preset="mini")
    assert (mini.learning_rate, mini.losses.pixel, mini.losses.dice) == (1e-3, 10, 1)
    mixed = FinetuneSettings(preset="mini", learning_rate=0.1, losses={"dice": 5})
    assert (mixed.learning_rate, mixed.mirror, mixed.losses.pixel, mixed.losses.dice) == (0.1, 0.1, 10, 5)
    assert FinetuneSettings(preset="published") == FinetuneSettings()


def test_a_preset_that_is_not_there_is_named():
    assert "finetune.preset: 'tiny' should be 'published', 'mini' or 'warping'" in message(
        changed(finetune__preset="tiny")
    )
    assert "finetune.preset: ['mini'] should be" in message(changed(finetune__preset=["mini"]))


@pytest.mark.parametrize("section", [FinetuneSettings, MetaSettings, LossWeights, AugmentSettings])
def test_presets_say_nothing_that_is_no_setting(section):
    default = section().model_dump()
    for chosen, values in section.presets.items():
        preset = section(**{section.chooser: chosen}).model_dump()
        assert preset[section.chooser] == chosen
        differing = [path for path in flat(preset) if flat(preset)[path] != flat(default)[path]]
        assert sorted(differing) == sorted([section.chooser, *flat(values)])


def flat(values, above=""):
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    parts = [flat(v, f"{above}{k}.") if isinstance(v, dict) else {above + k: v} for k, v in values.items()]
    return {key: value for part in parts for key, value in part.items()}


def test_files_of_the_demo_are_known_and_fetched_where_they_are_needed():
    own = {"url": "https://host/a.mp4", "sha256": "0" * 64}
    config = load_config(
        changed(
            fetch={"files": {"media/own.mp4": own}},
            drivers={"d": {"media": "resources/media/own.mp4"}},
            identities={"i": {"media": "resources/media/astronaut.png"}},
            drive__driver=None,
        )
    )
    assert set(config.needed_files()) == {
        "media/own.mp4",
        "media/astronaut.png",
        "weights/dlib_face_recognition_resnet_model_v1.dat",
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (changed(finetune__sweap=[1]), "finetune.sweap: unknown key; did you mean 'sweep'?"),
        (changed(finetune__losses__pixl=1), "finetune.losses.pixl: unknown key; did you mean 'pixel'?"),
        (changed(identities__astronaut__medai="x"), "identities.astronaut.medai: unknown key; did you mean 'media'?"),
        (changed(crop__size="big"), "crop.size: 'big' should be a valid integer"),
        (changed(crop__scale=9), "crop.scale: 9 should be less than or equal to 4"),
        (changed(crop__size=100), "crop.size: 100 must be a multiple of the model's 128 px"),
        (changed(identities__bob={"media": "bob.mp4"}), "identities.bob.media: 'bob.mp4' does not exist"),
        (changed(identities__bob={}), "identities.bob.media: missing"),
        (changed(drivers={}, pairs=[], meta__clips=[], drive__driver=None), "drivers: is empty"),
        (changed(identities__carphone={"media": "config.yaml"}), "drivers.carphone: an identity has this name too"),
        (changed(pairs=[["astronaut", "carphne"]]), "no driver is called 'carphne'; did you mean 'carphone'?"),
        (changed(pairs=[["asronaut", "carphone"]]), "no identity is called 'asronaut'; did you mean 'astronaut'?"),
        (changed(finetune__sweep=[60, 30]), "finetune.sweep: [60, 30] must increase"),
        (changed(finetune__sweep=[30, 30]), "finetune.sweep: [30, 30] must increase"),
        (
            changed(finetune__sweep=[30], finetune__choose=77),
            "finetune.choose: 77 is not in finetune.sweep; allowed: auto, 0, 30",
        ),
        (
            changed(finetune__sweep=[30], identities__astronaut__choose=77),
            "identities.astronaut.choose: 77 is not in finetune.sweep; allowed: auto, 0, 30",
        ),
        (changed(drivers__carphone__start="half"), "drivers.carphone.start: 'half' must be seconds, or a percentage"),
        (
            changed(meta__source="gone.safetensors"),
            "meta.source: 'gone.safetensors' is neither 'train', 'bundled' nor an existing",
        ),
        (changed(meta__set="gone.csv", meta__clips=[]), "meta.set: 'gone.csv' does not exist"),
        (
            changed(meta__set="config.yaml", meta__clips=[]),
            "meta.set: 'config.yaml' must be a folder, or a table that ends in .csv or .parquet",
        ),
        (
            changed(meta__source="train", meta__set="docs", meta__clips=["astronaut"]),
            "meta.clips: must be [] where meta.set is given",
        ),
        (
            changed(meta__set="docs", meta__clips=[], dataset__train_split="gone.csv"),
            "dataset.train_split: 'gone.csv' does not exist",
        ),
        (changed(meta__shards=0), "meta.shards: 0 should be greater than or equal to 1"),
        (changed(shard__max_failed=5), "shard.max_failed: 5 should be less than or equal to 1"),
        (changed(meta__clips=["nobody"]), "meta.clips: no identity or driver is called 'nobody'"),
        (changed(score__descriptor_weights="gone.dat"), "score.descriptor_weights: 'gone.dat' does not exist"),
        (changed(render__height=255), "render.height: 255 must be even"),
        (changed(finetune__extremes=0.5), "finetune.extremes is now hard_pose_fraction"),
        (changed(finetune__stop_early=True), "finetune.stop_early is gone: the whole sweep is trained"),
        (changed(finetune__extend=True), "finetune.extend is gone: finetune.sweep says how far"),
        (changed(meta__extremes=0.5), "meta.extremes is now hard_pose_fraction"),
        (changed(finetune__encoder_rate=0.2), "finetune.encoder_rate is of meta-learning alone"),
        (changed(finetune__losses__embedding_match=0), "finetune.losses.embedding_match is of meta-learning alone"),
    ],
)
def test_each_mistake_is_named(values, expected):
    text = message(values)
    assert expected in text and text.startswith("1 problem in config.yaml:")


def test_columns_of_a_set_are_checked_without_reading_it(tmp_path):
    table = tmp_path / "set.csv"
    table.write_text("clip,identiy,path\n" + "\0garbage\n" * 10)
    assert f"meta.set: '{table}' lacks the column identity; it has clip, identiy, path" in message(
        changed(meta__set=str(table), meta__clips=[])
    )
    table.write_text("clip,identity,path\n")
    config = load_config(changed(meta__source="train", meta__set=str(table), meta__clips=[]))
    assert config.meta_clips() == []
    assert "is for folders; a table says who validates" in message(
        changed(meta__set=str(table), meta__clips=[], dataset__validation_split="x.csv")
    )


def test_all_mistakes_are_in_one_message():
    values = changed(
        finetune__sweap=[1], crop__scale=9, identities__bob={"media": "bob.mp4"}, pairs=[["astronaut", "x"]]
    )
    text = message(values, ["drivers.carphone: stands twice"])
    assert text.startswith("5 problems in config.yaml:") and text.count("\n") == 5


def test_one_name_twice_is_found_in_the_text(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("drivers:\n  anna: {media: a.mp4}\n  bob: {media: b.mp4}\n  anna: {media: c.mp4}\n")
    assert repeated_keys([file]) == [f"drivers.anna: stands twice in {file}; names must differ"]


def test_what_the_configuration_works_out():
    config = load_config(changed(pairs="all", drive__driver=None))
    assert len(config.rendered_pairs()) == len(config.identities) * len(config.drivers)
    assert config.drivers[config.cross_driver("pexels_woman")].media != config.identities["pexels_woman"].media
    assert config.clip("astronaut").media.endswith("astronaut.png")


def test_the_project_of_validation_people_is_valid():
    config = Config.model_validate(yaml.safe_load((ROOT / "benchmarks" / "validation_people.yaml").read_text()))
    for identity in config.identities:
        drivers = [driver for name, driver in config.rendered_pairs() if name == identity]
        assert len(drivers) == 2 and config.cross_driver(identity) == drivers[0]


def test_every_setting_of_before_is_there_or_its_error_says_what_became_of_it():
    """The file lists all settings at commit 0ff22f7, before docs/experiments/before-regrouping.md."""
    known = {setting.name for setting in settings_of(Config)}
    gone = [
        key for key in (ROOT / "tests/fixtures/settings_before_regrouping.txt").read_text().split() if key not in known
    ]
    assert "finetune.extremes" in gone
    for key in gone:
        text = message(changed(**{key.replace(".", "__"): 1}))
        assert f"  - {key} is " in text and "unknown key" not in text


def test_a_run_with_settings_of_before_is_refused_by_name(tmp_path):
    about = tmp_path / "about.json"
    settings = {"learning_rate": 3e-4, "extremes": 0.5, "losses": {"landmarks": 0.0, "pixel": 2.0}}
    about.write_text(json.dumps({"model.preset": "small", "settings": settings}))
    for key in ("resume", "start"):
        with pytest.raises(UserError) as refused:
            saved_settings({key: str(tmp_path)})
        first, *named = str(refused.value).splitlines()
        assert first.startswith(f"2 problems in {about}, settings of an older run")
        assert named[0].startswith("  - losses.landmarks is gone: ") and named[1] == (
            "  - extremes is now hard_pose_fraction"
        )
    del settings["extremes"], settings["losses"]["landmarks"]
    about.write_text(json.dumps({"model.preset": "small", "settings": settings}))
    assert saved_settings({"start": str(tmp_path)}) == {"meta": settings, "model": {"preset": "small"}}


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', '{"model.preset": "small"}', '{"settings": 3}'])
def test_a_record_that_is_none_is_refused_and_no_record_is_needed(tmp_path, text):
    (tmp_path / "about.json").write_text(text)
    with pytest.raises(UserError, match=r"about\.json: cannot be read as the record of a training run"):
        saved_settings({"resume": str(tmp_path)})
    (tmp_path / "about.json").unlink()
    assert saved_settings({"resume": str(tmp_path)}) == {}
