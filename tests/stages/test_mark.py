"""Stage mark: every output is signed or has its sidecar, nothing is encoded again, and `verify` reads it all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch
from person_clips import swaying, write_person
from tree import ROOT

from reenact.data.clip import write_clip
from reenact.models.architecture import PRESETS
from reenact.models.model_file import load_model, save_model
from reenact.models.reenactor import Reenactor
from reenact.provenance.credentials import read_credentials, sha256_of
from reenact.provenance.keys import user_root
from reenact.provenance.verify import STATUS, in_words, originals, verify
from reenact.provenance.watermark import Watermark
from reenact.rendering.encode import write_video
from reenact.settings.mark import MarkSettings
from reenact.settings.render import RenderSettings
from reenact.stages.mark import Driver, Person, mark_model, mark_renders
from reenact.stages.render import DriverFiles, render_pair

OUTPUTS = {
    "avatar": "me.mp4",
    "side_by_side": "me.side_by_side.mp4",
    "alpha": "me.alpha.webm",
    "frames": "me.frames",
    "on_background": "me.on_background.mp4",
}
RENDER = RenderSettings(outputs=list(OUTPUTS), alpha="vp9", height=128, preset="ultrafast", crf=20)
COUNT = 75


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An avatar, a driver of 3 s, a photo, and what was rendered of them, unsigned."""
    folder = tmp_path_factory.mktemp("mark")
    torch.manual_seed(0)
    save_model(folder / "model.safetensors", Reenactor(PRESETS["small"], personal=True), {})
    frames = swaying(COUNT)
    with write_video(folder / "driver.mp4", 256, 256, preset="ultrafast") as writer:
        for step, image in enumerate(frames):
            writer.add(image, step / 25, 0.04)
    cv2.imwrite(str(folder / "photo.png"), frames[0])
    with write_clip(folder / "crops.zip") as clip:
        names = [f"{step:06d}.png" for step in range(COUNT)]
        for name, image in zip(names, frames, strict=True):
            clip.add(name, image)
        times = [step / 25 for step in range(COUNT)]
        columns = {"time": times, "source_time": times, "duration": 0.04, "role": "drive", "image": names}
        clip.finish(pd.DataFrame({"index": range(COUNT)} | columns))
    (folder / "source.json").write_text(json.dumps({"audio": False}))
    person, _ = write_person(folder / "person", frames[:3], ["train"] * 3)
    for name, mark in (("unsigned", MarkSettings()), ("bare", MarkSettings(enabled=False))):
        render_pair(
            model=folder / "model.safetensors",
            driver=DriverFiles(folder / "crops.zip", folder / "driver.mp4", folder / "source.json"),
            identity_crops=person,
            stem=folder / name / "me",
            device="cpu",
            settings=RENDER,
            mark=mark,
        )
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REENACT_HOME", str(tmp_path / "home"))


def marked(
    media: Path, folder: Path, unsigned: str = "unsigned", person: Person | None = None, **settings: object
) -> Path:
    """The finished files of the pair, in a folder."""
    mark_renders(
        record=media / unsigned / "me.json",
        stem=folder / "done" / "me",
        identity=person or Person(media / "photo.png", "written", "Signed in May.", "anna"),
        driver=Driver(media / "driver.mp4", "speech"),
        render=RENDER,
        settings=MarkSettings(**settings),
    )
    return folder / "done"


def content(path: Path) -> list[bytes]:
    """Every picture as it is stored."""
    if path.is_dir():
        return [file.read_bytes() for file in sorted(path.glob("*.png"))]
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0)]


def test_every_output_is_signed_and_nothing_is_encoded(media: Path, tmp_path: Path) -> None:
    done = marked(media, tmp_path)
    names = [*OUTPUTS.values(), "me.alpha.webm.c2pa", "me.frames.c2pa"]
    assert sorted(path.name for path in done.iterdir()) == sorted(names)
    record = json.loads((media / "unsigned" / "me.json").read_text())
    for output, name in OUTPUTS.items():
        found = read_credentials(done / name, user_root().read_text())
        assert found.state == "intact" and found.ours and found.trusted, name
        composite = output == "side_by_side"
        assert found.source_type == ("compositeWithTrainedAlgorithmicMedia" if composite else "trainedAlgorithmicMedia")
        assert found.facts["rendering"] == record["rendering"] and found.facts["output"] == output
        assert found.facts["consent"] == "written" and found.facts["consent_note"] == "Signed in May."
        assert found.facts["identity_media"] == sha256_of(media / "photo.png")
        assert "anna" not in json.dumps(found.facts)
        assert content(done / name) == content(media / "unsigned" / name), name


def test_verify_tells_it(media: Path, tmp_path: Path) -> None:
    done = marked(media, tmp_path)
    number = json.loads((media / "unsigned" / "me.json").read_text())["rendering"]
    for name in OUTPUTS.values():
        verdict = verify(done / name, [Watermark()])
        assert (verdict.verdict, verdict.trust, verdict.watermark) == ("intact", "own key", number), name
        text = "\n".join(in_words(verdict))
        assert "credentials intact" in text and "your own key" in text and "as the credentials say" in text
    assert verify(done / "me.mp4", [Watermark("another key")]).watermark is None


def test_verify_of_what_lost_its_credentials_or_was_changed(media: Path, tmp_path: Path) -> None:
    done = marked(media, tmp_path)
    number = json.loads((media / "unsigned" / "me.json").read_text())["rendering"]
    run = dict(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    source = ffmpeg.input(str(done / "me.mp4"))
    source.output(str(tmp_path / "copy.mp4"), c="copy").run(**run)
    source.output(str(tmp_path / "small.webm"), vf="scale=96:96", crf=32, **{"c:v": "libvpx-vp9"}).run(**run)
    for name in ("copy.mp4", "small.webm"):
        verdict = verify(tmp_path / name, [Watermark()])
        assert (verdict.verdict, verdict.watermark) == ("lost", number), name
    assert originals(number, done) == tuple(sorted(str(done / name) for name in OUTPUTS.values()))
    assert originals("00000000", done) == ()
    data = bytearray((done / "me.mp4").read_bytes())
    data[-300] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    (tmp_path / "broken.mp4").write_bytes(data[:100])
    shutil.copy(media / "bare" / "me.mp4", tmp_path / "bare.mp4")
    names = ("changed.mp4", "broken.mp4", "bare.mp4", "absent.mp4")
    found = [verify(tmp_path / name, [Watermark()]).verdict for name in names]
    assert found == ["tampered", "unreadable", "foreign", "unreadable"]
    assert sorted(STATUS[verdict] for verdict in found) == [4, 5, 6, 6]
    shutil.copy(done / "me.alpha.webm.c2pa", tmp_path / "small.webm.c2pa")
    assert verify(tmp_path / "small.webm", [Watermark()]).verdict == "tampered", "credentials of another file"


def test_names_and_a_missing_consent(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = marked(media, tmp_path, person=Person(media / "photo.png", name="anna"), names=True)
    said = capsys.readouterr().out
    assert "warning: identities.anna: no consent is stated" in said and "root.pem" in said
    assert read_credentials(done / "me.mp4").facts["consent"] == "not stated"
    assert b"anna" in (done / "me.mp4").read_bytes() and b"speech" in (done / "me.mp4").read_bytes()


def test_marking_can_be_left_out(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = marked(media, tmp_path, unsigned="bare", enabled=False)
    assert "mark.enabled is false" in capsys.readouterr().out
    assert not list(done.glob("*.c2pa")) and not (tmp_path / "home").exists()
    assert (done / "me.mp4").read_bytes() == (media / "bare" / "me.mp4").read_bytes()
    assert "synthetic" not in str(tags(done / "me.mp4"))
    assert content(media / "bare" / "me.mp4") != content(media / "unsigned" / "me.mp4")


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return dict(container.metadata)


def test_the_container_says_it_in_plain_words(media: Path, tmp_path: Path) -> None:
    done = marked(media, tmp_path)
    number = json.loads((media / "unsigned" / "me.json").read_text())["rendering"]
    for name in ("me.mp4", "me.side_by_side.mp4", "me.alpha.webm"):
        found = {key.lower(): value for key, value in tags(done / name).items()}
        assert found["title"] == "Synthetic video" and number in found["comment"]
        assert "reenact" in json.dumps({key: value for key, value in found.items() if key not in ("title", "comment")})


def test_a_label_is_seen(media: Path, tmp_path: Path) -> None:
    shown = []
    for label in ("", "synthetic"):
        settings = RenderSettings(outputs=["frames"], height=128)
        render_pair(
            model=media / "model.safetensors",
            driver=DriverFiles(media / "crops.zip", media / "driver.mp4", media / "source.json"),
            stem=tmp_path / f"a{label}",
            device="cpu",
            settings=settings,
            mark=MarkSettings(label=label),
        )
        shown.append(cv2.imread(str(tmp_path / f"a{label}.frames" / "000003.png"), cv2.IMREAD_UNCHANGED).astype(int))
    difference = np.abs(shown[1] - shown[0]).max(axis=2)
    assert difference[100:].max() > 100 and difference[:90].max() < 12
    assert shown[1][110:, :, 3].max() == 255, "in front of whatever lies below"


def test_an_avatar_says_what_it_was_made_of(media: Path, tmp_path: Path) -> None:
    person = Person(media / "photo.png", "own", name="anna")
    model = media / "model.safetensors"
    target = tmp_path / "signed.safetensors"
    mark_model(model=model, meta_model=model, target=target, identity=person, settings=MarkSettings())
    verdict = verify(target, [])
    assert (verdict.verdict, verdict.trust, verdict.facts["consent"]) == ("intact", "own key", "own")
    assert verdict.facts["identity_media"] == sha256_of(media / "photo.png")
    assert "made by reenact" in "\n".join(in_words(verdict))
    assert all(
        torch.equal(a, b)
        for a, b in zip(load_model(model)[0].parameters(), load_model(target)[0].parameters(), strict=True)
    )
    assert verify(model, []).verdict == "foreign"
    mark_model(model=model, meta_model=None, target=target, identity=person, settings=MarkSettings(enabled=False))
    assert target.read_bytes() == model.read_bytes()


def test_the_command_line(media: Path, tmp_path: Path) -> None:
    """Stage by stage as the rules call them, then verify; its exit status tells."""
    done = tmp_path / "done"

    def run(*command: object) -> subprocess.CompletedProcess:
        program = [sys.executable, "-m", *map(str, command)]
        return subprocess.run(program, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    sources = ("--identity-media", media / "photo.png", "--driver-media", media / "driver.mp4")
    settings = ("--settings", "{}", "--render-settings", RENDER.model_dump_json())
    record = ("--record", media / "unsigned" / "me.json", "--stem", done / "me")
    made = run("workflow_scripts.mark", *record, *sources, "--consent", "own", "--identity", "anna", *settings)
    assert made.returncode == 0, made.stdout
    shutil.copy(media / "bare" / "me.mp4", tmp_path / "bare.mp4")
    intact = run("workflow_scripts.verify", done / "me.mp4", done / "me.frames")
    assert intact.returncode == 0 and intact.stdout.count("credentials intact") == 2, intact.stdout
    both = run("workflow_scripts.verify", "--json", done / "me.mp4", tmp_path / "bare.mp4")
    assert both.returncode == 4
    assert [found["verdict"] for found in json.loads(both.stdout)] == ["intact", "foreign"]
    ffmpeg.input(str(done / "me.mp4")).output(str(tmp_path / "copy.mp4"), c="copy").run(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True
    )
    found = run("workflow_scripts.verify", tmp_path / "copy.mp4", "--among", done)
    assert found.returncode == 3 and f"original     {done / 'me.mp4'}" in found.stdout, found.stdout
    wrong = run("workflow_scripts.verify", tmp_path / "copy.mp4", "--among", tmp_path / "absent")
    assert wrong.returncode == 1 and "--among" in wrong.stdout
    assert run("workflow_scripts.verify", tmp_path / "absent.mp4").returncode == 6
    assert run("workflow_scripts.verify", "--root", tmp_path / "absent.pem", done / "me.mp4").returncode == 1
    assert run("workflow_scripts.mark", "--identity-media", media / "photo.png").returncode == 2
