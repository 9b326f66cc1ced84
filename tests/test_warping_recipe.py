"""benchmarks/warping: the table of people that the warping family learns from, and the configurations beside it."""

import csv

import pytest
import yaml
from tree import ROOT

from benchmarks.warping.bundle import learned_from
from benchmarks.warping.tables import LAST, VALIDATION, table
from reenact.models.model_file import load_model
from reenact.settings.meta import BUNDLED_MODELS
from reenact.settings.workflow import Config


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def configuration(name):
    return yaml.safe_load((ROOT / f"benchmarks/warping/{name}.yaml").read_text())


@pytest.fixture
def folders(tmp_path):
    clips, people = tmp_path / "clips", tmp_path / "people"
    rows = [("aoc_1", "aoc", "B"), ("vr_2_1", "vr_2", "B"), ("film_1", "film", "C"), ("lp_d0_1", "lp_d0", "B")]
    write(clips / "manifest.csv", [dict(zip(("id", "person", "grade"), row, strict=True)) for row in rows])
    known = [
        ("civilservice", "us_1", "B", "a.jpg", "probably same person as clips:aoc, congress/us_1"),
        ("congress", "us_1", "A", "b.jpg", ""),
        ("congress", "us_2", "A", "c.jpg", "smiles; probably same person as clips:vr_2"),
        ("civilservice", "us_2", "B", "d.jpg", ""),
        ("lfw", "Somebody", "C", "e.jpg", ""),
        ("talkinghead", "reagan", "B", "reagan_1.mp4", "probably same person as lfw/Ronald_Reagan"),
    ]
    for source, person, _, name, _ in known:
        (people / source / person).mkdir(parents=True)
        (people / source / person / name).touch()
    names = ("source", "person", "grade", "file", "note")
    write(people / "manifest.csv", [dict(zip(names, row, strict=True)) for row in known])
    return clips, people


def test_people_are_split_however_many_names_they_have(folders, tmp_path):
    rows = table(*folders, tmp_path / "runs")
    split = {row["clip"]: row["split"] for row in rows}
    assert split == {
        "clips/aoc_1": "validation",  # and no still of her trains, in whatever folder
        "clips/vr_2_1": "train",
        "clips/lp_d0_1": "unused",
        "congress/us_2/c": "train",
        "civilservice/us_2/d": "train",
        "talkinghead/reagan/reagan_1": "train",
    }
    who = {row["clip"]: row["identity"] for row in rows}
    assert who["clips/vr_2_1"] == who["congress/us_2/c"] == who["civilservice/us_2/d"] != who["clips/aoc_1"]
    assert rows[0]["path"] == "../clips/aoc_1.mp4"


def test_the_configurations_are_valid_and_show_whom_the_table_validates():
    people, recipe = (Config.model_validate(configuration(name)) for name in ("people", "recipe"))
    shown = [clip.media.rsplit("/", 1)[1].rpartition("_")[0] for clip in people.identities.values()]
    assert sorted(shown) == sorted(name.split("/")[1] for name in VALIDATION) and not VALIDATION & LAST
    assert recipe.meta_start(fitted="start.safetensors") == ["start.safetensors"]
    assert recipe.meta.learning_rate == 8e-4 and recipe.meta.set == "people.csv" and recipe.meta.decay == 1


def test_the_file_that_ships_is_made_by_the_configurations():
    first, more = configuration("recipe"), configuration("together")
    warping = first["meta"]["warping"] | more["meta"]["warping"]  # Snakemake merges as deep as that
    second = Config.model_validate(first | {"meta": first["meta"] | more["meta"] | {"warping": warping}})
    assert second.meta.warping.said == 0.8 and second.meta.warping.losses.matte == 4 and second.meta.set == "people.csv"
    assert second.meta.start == f"results/meta/{first['meta']['name']}/model.safetensors"
    shipped = load_model(BUNDLED_MODELS["warping"]).metadata
    assert shipped["steps"] == second.meta.steps
    assert shipped["goes_on_from"]["steps"] == first["meta"]["steps"]


def test_the_file_that_ships_names_whom_it_learned_from(folders, tmp_path):
    write(tmp_path / "people.csv", table(*folders, tmp_path))
    assert learned_from(tmp_path / "people.csv") == {
        "clips": ["vr_2_1", "talkinghead/reagan/reagan_1"],
        "stills": 2,
        "people_in_stills": 1,
        "grades": "A and B",
    }
    shipped = load_model(BUNDLED_MODELS["warping"]).metadata
    assert shipped["made_by"] == "benchmarks/warping/recipe.yaml and together.yaml, docs/experiments/warping.md"
    assert len(shipped["trained_on"]["clips"]) == 79 and shipped["trained_on"]["stills"] == 2955
