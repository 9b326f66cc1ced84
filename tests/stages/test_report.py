"""The page: complete, self-contained, and content with what was made."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from person_clips import swaying, write_person

from reenact.monitoring.previews import write_grid
from reenact.provenance.credentials import Statement, sign_file
from reenact.provenance.keys import load_signing_key
from reenact.rendering.encode import write_video
from reenact.reporting.clips import lost_frames, matte_notes
from reenact.runtime.errors import UserError
from reenact.settings.report import ReportSettings
from reenact.settings.select import SelectSettings
from reenact.stages.report import build_report
from reenact.stages.score import COLUMNS
from reenact.stages.select import SelectOutputs, select_model

CONFIG = {
    "device": "cpu",
    "crop": {"size": 256},
    "finetune": {"sweep": [30, 60], "losses": {"pixel": 0.5}},
    "note": "<script>alert(1)</script>",
}
SOURCE = {
    "media": "films/woman.mp4",
    "kind": "video",
    "width": 640,
    "height": 360,
    "frames": 14,
    "fps": 23.976,
    "duration": 0.58,
    "start": 0.0,
    "end": 0.58,
    "audio": True,
    "damaged_frames": 0,
    "steps": [],
}


class Page(HTMLParser):
    """Sources, texts and unbalanced tags of a page."""

    VOID = ("meta", "img", "source", "br", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [
            value or ""
            for name, value in attributes
            if name in ("src", "srcset", "poster") or (name == "href" and tag != "a")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one avatar, its driver, a meta-model and a video, made without any network."""
    root = tmp_path_factory.mktemp("results")
    for name, roles in (("woman", ["train"] * 4 + ["holdout"] * 3), ("man", ["drive"] * 7)):
        write_person(root / "clips" / name, swaying(7), roles)
        (root / "clips" / name / "source.json").write_text(json.dumps(SOURCE))
    avatar = root / "avatars" / "woman"
    (avatar / "sweep").mkdir(parents=True)
    write_scores(avatar)
    choose(avatar, 60)
    curves = pd.DataFrame({"step": range(1, 61), "adversarial": np.linspace(1, 0, 60), "dice": 0.5, "seconds": 1.0})
    (root / "meta" / "small").mkdir(parents=True)
    for folder in (avatar / "sweep", root / "meta" / "small"):
        curves.to_csv(folder / "curves.csv", index=False)
        write_grid(folder / "preview.png", [np.stack(swaying(3))[:, ::4, ::4]] * 2)
    for kind in ("man.mp4", "man.side_by_side.mp4"):
        with write_video(root / "renders" / "woman" / kind, 64, 64, preset="ultrafast") as writer:
            writer.add(np.zeros((64, 64, 3), np.uint8), 0, 0.04)
    return root


def write_scores(avatar: Path) -> None:
    """Both tables of stage score, of three iterations and, in the first, of a baseline."""
    networks = {
        "descriptor": "dlib ResNet-29 v1",
        "landmark_detector": "MediaPipe Face Mesh",
        "perceptual_network": "VGG-19",
    }
    errors = {"identity_error": 0.1, "motion_error": 0.05}
    rows = [
        {"model": m, "protocol": p, "frames": 96, "failed": 0.25, "jitter": 1.5, **errors, **networks}
        | ({"pose_error": 0.1, "psnr": 20.0} if p == "self" else {})
        for p in ("self", "cross")
        for m in ("mean_image", "0", "30", "60")
    ]
    pd.DataFrame(rows).reindex(columns=COLUMNS).to_csv(avatar / "scores.csv", index=False)
    frames = [
        {"model": m, "protocol": p, "part": part, "run": run, "index": 8 * run + i, "failed": 0, "pose_error": 0.1}
        | errors
        | {"identity_error": 0.1 + 0.001 * i}
        for p in ("self", "cross")
        for m in ("0", "30", "60")
        for run, part in enumerate(("select", "check"))
        for i in range(8)
    ]
    pd.DataFrame(frames).to_csv(avatar / "frame_scores.csv", index=False)


def choose(avatar: Path, wanted: int) -> None:
    """Stage select, with models that are none."""
    for iteration in (0, 30, 60):
        (avatar / "sweep" / f"{iteration:06d}.safetensors").write_text("x" * 1000)
    outputs = (avatar / name for name in ("model.safetensors", "sweep.csv", "sweep.png", "selected.json"))
    select_model(
        scores=avatar / "scores.csv",
        frame_scores=avatar / "frame_scores.csv",
        sweep=avatar / "sweep",
        outputs=SelectOutputs(*outputs),
        wanted=wanted,
        settings=SelectSettings(),
    )


def everything(root: Path) -> list[Path]:
    names = ["source.json", "crops.zip", "mattes.zip"]
    return [
        *(root / "clips" / clip / name for clip in ("woman", "man") for name in names),
        *(root / "meta" / "small" / name for name in ("curves.csv", "preview.png")),
        *(root / "avatars" / "woman" / name for name in ("sweep", "scores.csv", "sweep.csv", "selected.json")),
        *(root / "renders" / "woman" / name for name in ("man.mp4", "man.side_by_side.mp4")),
    ]


def build(root: Path, page: Path, inputs: list[Path], **settings: object) -> str:
    manifest = page.with_suffix(".json")
    manifest.write_text(json.dumps({"config": CONFIG, "inputs": list(map(str, inputs))}))
    build_report(results=root, manifest=manifest, page=page, settings=ReportSettings(**settings))
    return page.read_text(encoding="utf-8")


def test_everything_is_there(results: Path, tmp_path: Path) -> None:
    text = build(results, tmp_path / "index.html", everything(results), title="Two people", sheet_frames=5)
    page = Page(text)
    assert page.open == []
    assert page.tags.count("video") == 1, "side by side only: the avatar alone is in it"
    assert text.count('<tr class="chosen">') == 2, "in both protocols"
    assert page.tags.count("figure") == 1 + 5 + 5
    assert "Chosen iteration: 60 (your choice)" in text and "took no part in the choice" in text
    for expected in (
        "Two people",
        "dlib ResNet-29 v1",
        "VGG-19",
        "MediaPipe Face Mesh",
        "mean image",
        "0, not fine-tuned",
        "woman.mp4: 640 × 360 px, 14 frames",
        "25%",
        "losses.pixel",
        "held out",
        "finetune",
    ):
        assert expected in text, expected


def test_it_needs_nothing_else(results: Path, tmp_path: Path) -> None:
    text = build(results, tmp_path / "index.html", everything(results))
    page = Page(text)
    assert len(page.sources) > 10
    assert all(source.startswith("data:") for source in page.sources)
    assert "script" not in page.tags
    assert not re.search(r"https?://", text)
    assert "&lt;script&gt;" in text, "what users write is shown, not run"


@pytest.mark.parametrize("text", [None, "not JSON", "[]", '{"inputs": []}', '{"inputs": 3, "config": {}}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    manifest = tmp_path / "manifest.json"
    if text is not None:
        manifest.write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: no manifest of a report"):
        build_report(results=tmp_path, manifest=manifest, page=tmp_path / "page.html", settings=ReportSettings())


def test_the_same_twice(results: Path, tmp_path: Path) -> None:
    assert build(results, tmp_path / "a.html", everything(results)) == build(
        results, tmp_path / "b.html", everything(results)
    )


def test_only_what_is_given_is_shown(results: Path, tmp_path: Path) -> None:
    given = [
        results / "avatars" / "woman" / "scores.csv",
        results / "renders" / "woman" / "man.mp4",
        results / "renders" / "woman" / "absent.mp4",
    ]
    text = build(results, tmp_path / "index.html", given)
    assert Page(text).tags.count("video") == 1
    for absent in ("Chosen iteration", "Drivers", "Meta-model", "Footage"):
        assert absent not in text
    assert "woman" in build(results, tmp_path / "index.html", [results / "clips" / "woman" / "crops.zip"])


def test_every_kind_of_render_is_shown_or_named(results: Path, tmp_path: Path) -> None:
    folder = results / "renders" / "woman"
    shutil.copy(folder / "man.mp4", folder / "man.pasted.mp4")
    (folder / "man.alpha.mov").write_text("")
    (folder / "man.frames").mkdir()
    for name in ("000000.png", "times.csv"):
        (folder / "man.frames" / name).write_text("")
    given = [
        folder / f"man{suffix}" for suffix in (".mp4", ".side_by_side.mp4", ".pasted.mp4", ".alpha.mov", ".frames")
    ]
    text = build(results, tmp_path / "index.html", given)
    assert Page(text).tags.count("video") == 2
    assert "Also in results/renders/woman: man.alpha.mov, man.frames." in text
    assert Page(build(results, tmp_path / "index.html", given[2:])).tags.count("video") == 1


def test_an_imported_meta_model_has_no_curves(results: Path, tmp_path: Path) -> None:
    (results / "meta" / "bought").mkdir()
    (results / "meta" / "bought" / "curves.csv").write_text("step\n")
    assert "Not trained here" in build(results, tmp_path / "index.html", [results / "meta" / "bought" / "curves.csv"])


def test_lost_frames_and_doubtful_mattes_are_named() -> None:
    crops = pd.DataFrame(
        {"status": ["tracked", "dropped", "dropped", "held"], "reason": ["", "no face", "blurred", "no face"]}
    )
    assert lost_frames(crops) == ["2 of 4 frames left out (1 no face, 1 blurred).", "1 of 4 frames held (1 no face)."]
    mattes = pd.DataFrame(
        {"time": [0.0, 0.5], "coverage": [0.4, 0.2], "warning": ["", "coverage jumps from 40% to 20%"]}
    )
    assert matte_notes(mattes) == [
        "The person covers 30% of the crops (20% to 40%).",
        "Look at 1 matte, the first at 0.50 s: coverage jumps from 40% to 20%.",
    ]
    assert lost_frames(crops[:1]) == matte_notes(mattes[:0]) == []


def test_credentials_and_consent_are_shown(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIG, "identities", {"woman": {"consent": None}})
    shutil.copytree(results / "renders", tmp_path / "renders")
    video = tmp_path / "renders" / "woman" / "man.mp4"
    text = build(tmp_path, tmp_path / "index.html", [video])
    assert "Not marked" in text and "No consent is stated for this face" in text
    monkeypatch.setitem(CONFIG, "identities", {"woman": {"consent": "written", "consent_note": "In <May>."}})
    sign_file(video, video, Statement("1", {"rendering": "c0ffee07"}, False, ()), load_signing_key(None, None))
    text = build(tmp_path, tmp_path / "index.html", [video])
    assert "Content Credentials: rendering c0ffee07, trainedAlgorithmicMedia, signed by reenact user" in text
    assert "Consent: agreed in writing. In &lt;May&gt;." in text and "Not marked" not in text
    data = bytearray(video.read_bytes())
    data[-9] ^= 1
    video.write_bytes(data)
    assert "Credentials: tampered" in build(tmp_path, tmp_path / "index.html", [video])
