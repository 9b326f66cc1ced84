"""The API and the pages: people, media, the build, avatars, stills, verification."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from crops import write_crops
from face_shapes import narrow_avatar
from person_clips import portrait, swaying
from tree import ROOT
from videos import write_video

from reenact.data.clip import write_clip
from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor
from reenact.project.folder import Project


def photo(path: Path, people: int = 1) -> Path:
    """A photo of one face, or of several side by side."""
    cv2.imwrite(str(path), np.concatenate([portrait(size=256)] * people, axis=1)[..., ::-1])
    return path


@pytest.fixture
def peopled(studio, tmp_path):
    """A studio with a person and a driver."""
    media = [studio.upload(photo(tmp_path / "a.png")), studio.upload(photo(tmp_path / "b.png"))]
    studio.json("POST", "/api/identities", {"name": "anna", "media": media, "consent": "own", "consent_note": "mine"})
    video = studio.upload(write_video(tmp_path / "c.mp4", swaying(8)))
    studio.json("POST", "/api/drivers", {"name": "speech", "media": [video], "start": 0.04})
    return studio


def config(studio) -> dict:
    return yaml.safe_load((studio.folder / "config.yaml").read_text())


def test_a_new_project_from_its_first_page(tmp_path, start) -> None:
    studio = start(tmp_path / "new")
    assert "Create the project" in studio.page("/")
    assert studio.error("GET", "/api/identities")[0] == 404
    assert studio.json("GET", "/api/project")["exists"] is False
    assert studio.json("POST", "/api/project")["exists"] is True
    assert studio.error("POST", "/api/project")[0] == 409
    assert Project.open(tmp_path / "new").config(unfinished=True).identities == {}
    for page in ("/people", "/parts/people", "/add", "/build", "/parts/build", "/avatars", "/parts/avatars", "/drive"):
        studio.page(page)
    for page in ("/verify", "/report", "/api", "/parts/pill"):
        studio.page(page)
    assert "Nobody yet" in studio.page("/parts/people")
    status, _, text = studio.ask("GET", "/people/nobody", headers={"Accept": "text/html"})
    assert status == 404 and b"neither a person nor a driver" in text


def test_people_are_written_as_the_command_line_writes_them(peopled) -> None:
    written = config(peopled)
    assert written["identities"] == {"anna": {"media": "photos/anna", "consent": "own", "consent_note": "mine"}}
    assert written["drivers"] == {"speech": {"media": "videos/speech.mp4", "start": 0.04}}
    assert sorted(path.name for path in (peopled.folder / "photos/anna").iterdir()) == ["001.png", "002.png"]
    assert not list((peopled.folder / ".reenact/uploads").iterdir())
    assert "# People" in (peopled.folder / "config.yaml").read_text(), "comments stay"
    names = [one["name"] for one in peopled.json("GET", "/api/identities")]
    assert names == ["anna"] and "anna" in peopled.page("/parts/people")
    assert "own face" in peopled.page("/people/anna") and "videos/speech.mp4" in peopled.page("/people/speech")


def test_mistakes_are_a_sentence_and_leave_nothing(peopled, tmp_path) -> None:
    before = (peopled.folder / "config.yaml").read_bytes()
    one, other = (peopled.upload(photo(tmp_path / f"{name}.png")) for name in "xy")
    film = peopled.upload(write_video(tmp_path / "d.mp4", swaying(3)))
    person = {"name": "bert", "media": [one, film], "consent": "own"}
    assert "photos, or one video" in peopled.error("POST", "/api/identities", person)[1]
    assert peopled.error("POST", "/api/identities", {**person, "name": "anna", "media": [one]})[0] == 409
    assert "send the file again" in peopled.error("POST", "/api/identities", {**person, "media": ["0" * 16]})[1]
    late = peopled.error("POST", "/api/drivers", {"name": "film", "media": [film], "start": 5, "end": 2})
    assert late[0] == 422 and "must be later" in late[1]
    assert (peopled.folder / "config.yaml").read_bytes() == before
    assert not (peopled.folder / "videos/film.mp4").exists() and not (peopled.folder / "photos/bert").exists()
    peopled.json("POST", "/api/drivers", {"name": "film", "media": [film]})
    assert peopled.ask("DELETE", f"/api/media/{other}")[0] == 204
    assert peopled.error("DELETE", f"/api/media/{other}")[0] == 422
    peopled.json("POST", "/api/identities", {"name": "bert", "media": [one], "consent": "fictional"})


def test_taking_out_can_be_undone(peopled) -> None:
    before = config(peopled)
    done = peopled.json("DELETE", "/api/clips/anna")
    assert config(peopled)["identities"] == {} and (peopled.folder / "photos/anna/001.png").exists()
    assert "Undo" in peopled.page("/parts/people")
    peopled.json("POST", done["undo"])
    assert config(peopled) == before
    assert peopled.error("POST", done["undo"])[0] == 404 and peopled.error("DELETE", "/api/clips/carl")[0] == 404


def test_who_is_meant_is_one_click(studio, tmp_path) -> None:
    upload = studio.upload(photo(tmp_path / "two.png", people=2))
    studio.json("POST", "/api/identities", {"name": "anna", "media": [upload], "consent": "own"})
    (looked,) = studio.json("GET", "/api/clips/anna/faces")
    assert len(looked["faces"]) == 2 and looked["faces"][0]["left"] < 0.5 < looked["faces"][1]["left"]
    page = studio.page("/parts/faces/anna")
    assert "Several people are seen" in page and page.count("This one") == 2
    studio.json("PUT", "/api/clips/anna/face", {"face": looked["faces"][1]["setting"]})
    assert config(studio)["identities"]["anna"]["face"] == looked["faces"][1]["setting"]
    assert studio.page("/parts/faces/anna").count('aria-pressed="true"') == 1
    assert studio.error("PUT", "/api/clips/anna/face", {"face": "the tall one"})[0] == 422


def test_what_the_stages_made_and_why_frames_are_lost(peopled) -> None:
    folder = peopled.folder / "results/clips/anna"
    folder.mkdir(parents=True)
    status, reason = ["tracked", "dropped", "tracked"], ["", "turned away", ""]
    images = ["000000.png", "", "000002.png"]
    write_crops(folder / "crops.zip", swaying(3), status=status, reason=reason)
    frames = peopled.json("GET", "/api/clips/anna/frames")
    assert frames["lost"] == [{"label": "0.04 s", "reason": "turned away"}] and "1 turned away" in frames["description"]
    assert "turned away" in peopled.page("/parts/footage/anna") and images


@pytest.fixture
def built(peopled):
    """A studio whose avatar is a small model with random weights, of a sweep of two iterations."""
    torch.manual_seed(0)
    results = peopled.folder / "results"
    model = results / "avatars/anna/model.safetensors"
    avatar = Reenactor(PRESETS["small"], personal=True)
    with torch.no_grad():
        avatar.pose_encoder.classifier[-1].weight.mul_(5e8)  # as they come, random weights hardly see a pose
    save_model(model, avatar, {})
    for iteration in (0, 30):
        save_model(results / f"avatars/anna/sweep/{iteration:06d}.safetensors", Reenactor(PRESETS["small"]), {})
    write_crops(results / "clips/speech/crops.zip", swaying(8), role="drive")
    selected = {"iteration": 30, "chosen_by": "auto", "reason": "the least of both errors", "check": None}
    (results / "avatars/anna/selected.json").write_text(json.dumps(selected))
    import pandas as pd

    rows = [
        {"image": f"cross/{n:06d}/{i:06d}.png", "protocol": "cross", "iteration": n, "index": i}
        for n in (0, 30)
        for i in range(8)
    ]
    with write_clip(results / "avatars/anna/driven.zip") as writer:
        for row in rows:
            writer.add(row["image"], portrait(size=64))
        writer.finish(pd.DataFrame(rows))
    return peopled


def still(studio, **pose) -> np.ndarray:
    wish = {"identity": "anna", "driver": "speech", "place": 0.8, "pose": pose}
    answer = studio.json("POST", "/api/edits", wish)
    data = base64.b64decode(answer["picture"])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)


def test_stills_follow_the_sliders(built) -> None:
    plain = still(built)
    assert np.abs(plain - still(built)).max() == 0
    assert np.abs(plain - still(built, intensity=2.5)).mean() > 0.02
    refused = built.error("POST", "/api/edits", {"identity": "anna", "driver": "speech", "pose": {"intensity": 99}})
    assert refused[0] == 422 and "intensity: 99" in refused[1]
    assert built.error("POST", "/api/edits", {"identity": "speech", "driver": "speech"})[0] == 404
    assert built.json("GET", "/api/avatars/anna/controls")["family"] == "constant"
    assert "Strength of the motion" in built.page("/parts/motion/anna")
    (built.folder / "results/avatars/anna/model.safetensors").unlink()
    assert "Once the avatar is built" in built.page("/parts/motion/anna")


def test_an_avatar_of_photos_shows_stills_too(built) -> None:
    save_model(built.folder / "results/avatars/anna/model.safetensors", narrow_avatar(), {"stage": "finetune"})
    assert still(built).shape == still(built, follow="expression_only", relative=True).shape == (64, 64, 3)
    assert built.json("GET", "/api/avatars/anna/controls")["family"] == "warping"


def test_a_webcams_picture_drives(built) -> None:
    path = "/api/live/anna?session=0123456789abcdef"
    blank = cv2.imencode(".jpg", np.zeros((96, 96, 3), np.uint8))[1].tobytes()
    assert built.ask("POST", path, blank)[0] == 204
    status, headers, data = built.ask("POST", path, cv2.imencode(".jpg", portrait()[..., ::-1])[1].tobytes())
    assert status == 200 and headers["content-type"] == "image/jpeg" and "dur=" in headers["server-timing"]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[2] == 3
    assert built.error("POST", path, b"no picture")[0] == 422
    assert built.error("POST", path + "&pose=%5B1%5D", blank)[0] == 422


def test_iterations_are_seen_side_by_side_and_another_is_one_click(built, monkeypatch) -> None:
    (avatar,) = built.json("GET", "/api/avatars")
    assert avatar["iteration"] == 30 and [take["chosen"] for take in avatar["takes"]] == [False, True]
    assert len(avatar["driven"]) == 5 and all(len(take["pictures"]) == 5 for take in avatar["takes"])
    page = built.page("/parts/avatars")
    assert page.count("Use this one") == 1 and "the least of both errors" in page
    started = []
    monkeypatch.setattr("reenact.studio.api_avatars.begin", lambda desk, targets: started.append(targets) or STATE)
    from reenact.project.build import BuildState

    STATE = BuildState("running", 0.0)
    assert built.error("PUT", "/api/avatars/anna/choice", {"iteration": 7})[0] == 422
    built.json("PUT", "/api/avatars/anna/choice", {"iteration": 0})
    assert config(built)["identities"]["anna"]["choose"] == 0 and started == [[]]
    wish = {"identity": "anna", "driver": "speech", "pose": {"intensity": 1.2}}
    built.json("POST", "/api/renders", wish)
    assert config(built)["render"]["pose"] == {"intensity": 1.2}
    assert started[-1][0] == "results/renders/anna/speech.mp4"


def test_videos_play_and_are_downloaded(built) -> None:
    assert "not rendered yet" in built.page("/parts/videos?identity=anna&driver=speech")
    video = built.folder / "results/renders/anna/speech.side_by_side.mp4"
    video.parent.mkdir(parents=True)
    write_video(video, swaying(4))
    (made,) = built.json("GET", "/api/renders")
    status, headers, data = built.ask("GET", made["url"], headers={"Range": "bytes=0-9"})
    assert status == 206 and len(data) == 10 and headers["content-type"] == "video/mp4"
    status, headers, data = built.ask("GET", made["url"] + "?download=true")
    assert "anna.speech.side_by_side.mp4" in headers["content-disposition"] and data == video.read_bytes()
    assert built.ask("GET", "/api/renders/anna/speech/alpha")[0] == 404
    assert f'src="{made["url"]}?of=' in built.page("/parts/videos?identity=anna&driver=speech")


def test_any_file_is_verified(studio, tmp_path) -> None:
    answer = studio.json("POST", "/api/verify", photo(tmp_path / "a.png").read_bytes())
    assert answer["verdict"] == "foreign" and answer["rows"]
    assert studio.error("POST", "/api/verify", b"%PDF-1.4")[0] == 415


def test_the_report_runs_nothing(studio) -> None:
    page = studio.folder / "results/report/index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<title>x</title><script>alert(1)</script>")
    status, headers, _ = studio.ask("GET", "/report/page.html")
    assert status == 200 and headers["content-security-policy"].startswith("sandbox;")
    assert 'src="/report/page.html" sandbox' in studio.page("/report")


def test_the_api_describes_itself_and_pages_load_nothing_from_elsewhere(studio) -> None:
    schema = studio.json("GET", "/api/openapi.json")
    for path in ("/api/identities", "/api/drivers", "/api/builds", "/api/events", "/api/renders", "/api/edits"):
        assert (path in schema["paths"] and f"<code>GET {path}" in studio.page("/api")) or "edits" in path
    assert all(one.get("description") for methods in schema["paths"].values() for one in methods.values())
    texts = [studio.page(page) for page in ("/people", "/add", "/build", "/drive", "/verify", "/api")]
    texts += [path.read_text() for path in (ROOT / "reenact/studio/static").glob("studio.*")]
    assert not [
        text
        for text in texts
        if "//" in text.replace("// ", "").replace("http://www.w3.org", "") and 'src="http' in text
    ]
    assert all("style=" not in text and "onclick" not in text for text in texts), "the policy would not run them"
