"""A project is edited without a mistake getting into its file, and without anything else of the file changing."""

import difflib

import pytest
import yaml
from tree import ROOT

from reenact.project.edit_yaml import remove_key, set_value
from reenact.project.folder import Project
from reenact.runtime.errors import UserError

SHIPPED = (ROOT / "config.yaml").read_text()


@pytest.fixture
def project(tmp_path):
    made = Project.create(tmp_path / "lab")
    (made.folder / "photos" / "anna.png").touch()
    (made.folder / "videos" / "speech.mp4").touch()
    return made


def changed(before, after):
    """Lines that differ."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def test_a_new_project_is_edited_built_of_and_keeps_its_comments(project):
    comments = [line for line in project.file.read_text().splitlines() if line.startswith("#")]
    project.add_identity("anna", project.folder / "photos" / "anna.png", consent="own", consent_note="me: 'myself'")
    project.add_driver("speech", "videos/speech.mp4", start="1:30", end="60%")
    project.set("render.pose.intensity", 1.2)
    project.set("identities.anna.face", "75%,52.2% at 0")  # with a comma, within braces
    config = project.config()
    assert config.identities["anna"].face == "75%,52.2% at 0"
    assert config.identities["anna"].media == "photos/anna.png"
    assert config.identities["anna"].consent_note == "me: 'myself'"
    assert config.drivers["speech"].start == "1:30" and config.render.pose.intensity == 1.2
    assert [line for line in project.file.read_text().splitlines() if line.startswith("#")] == comments
    project.remove("anna")
    project.remove("speech")
    assert not project.config(unfinished=True).identities
    with pytest.raises(UserError, match="identities: is empty"):
        project.config()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p.add_identity("a b", "photos/anna.png"), "letters, digits"),
        (lambda p: p.add_identity("../up", "photos/anna.png"), "letters, digits"),
        (lambda p: p.add_identity("ben", "photos/ben.png"), "photos/ben.png' does not exist"),
        (lambda p: p.add_identity("ben", "photos/anna.png", consent="maybe"), "'own', 'written'"),
        (lambda p: p.add_identity("ben", "photos/anna.png", holdout=2), "less than or equal to 0.8"),
        (lambda p: p.add_driver("talk", "videos/speech.mp4", start=5, end=2), "must be later"),
        (lambda p: p.set("render.pose.intensty", 1), "did you mean 'intensity'"),
        (lambda p: p.set("crop", 5), "crop"),
        (lambda p: p.remove("ben"), "neither a person nor a driver"),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(project, edit, message):
    before = project.file.read_bytes()
    with pytest.raises(UserError, match=message):
        edit(project)
    assert project.file.read_bytes() == before


def test_a_mistake_that_was_there_is_no_reason_against_another_edit(project):
    project.add_identity("anna", "photos/anna.png")
    (project.folder / "photos" / "anna.png").unlink()
    project.add_driver("speech", "videos/speech.mp4")
    with pytest.raises(UserError, match=r"identities\.anna\.media"):
        project.config()


def test_names_are_taken_once_and_folders_are_projects_or_not(project, tmp_path):
    project.add_identity("anna", "photos/anna.png")
    with pytest.raises(UserError, match="called so already"):
        project.add_driver("anna", "videos/speech.mp4")
    with pytest.raises(UserError, match="is a project already"):
        Project.create(project.folder)
    with pytest.raises(UserError, match="reenact new"):
        Project.open(tmp_path)


def test_edits_of_the_shipped_file_change_the_lines_that_they_mean():
    cases = {
        '+  new: {media: "x: y"}'.replace('"', "'"): set_value(SHIPPED, ("identities", "new"), {"media": "x: y"}),
        "+    holdout: 0.5": set_value(SHIPPED, ("identities", "pexels_woman", "holdout"), 0.5),
        "+  z: {media: ü, start: 60%}": set_value(SHIPPED, ("drivers", "z"), {"media": "ü", "start": "60%"}),
        "+crop: {scale: 2}": set_value(SHIPPED, ("crop", "scale"), 2),
    }
    for line, text in cases.items():
        added = [change for change in changed(SHIPPED, text) if change.startswith("+")]
        assert added == [line] and len(changed(SHIPPED, text)) <= 2
    removed = changed(SHIPPED, remove_key(SHIPPED, ("identities", "pexels_woman")))
    assert len(removed) == 5 and all(line.startswith("-") for line in removed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\n",
        "a:\n",
        "a: {}",
        "a:\n  b: 1  # why\n\n# c\nc: 2\n",
        "a: {b: 1}  # why\n",
        "a: [1]\n",
        "a:\n  - 1\nc: 2",
    ],
)
def test_any_form_of_a_mapping_is_edited(text):
    for keys in (("a",), ("a", "b"), ("a", "new"), ("new",), ("new", "deep", "er")):
        edited = set_value(text, keys, {"x": [1, None]})
        assert all(comment in edited for comment in ("# c",) if comment in text)
        inner = yaml.safe_load(edited)
        for key in keys:
            inner = inner[key]
        assert inner == {"x": [1, None]}


def test_what_cannot_be_edited_is_refused(project):
    project.file.write_text(project.file.read_text() + "decode: &same {max_frames: 5}\nextra: *same\n")
    with pytest.raises(UserError, match="only an editor"):
        project.set("extra.max_frames", 6)
