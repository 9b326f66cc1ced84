"""The whole way in a real browser, at test size: a new project, media, the build, iterations, sliders, verification."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from reenact.models.architecture import PRESETS
from reenact.models.model_file import save_model
from reenact.models.reenactor import Reenactor, build_discriminator
from reenact.project.build import Build
from reenact.project.folder import Project
from reenact.studio.pages import EMPTY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SMALL = {
    "device": "cpu",
    "decode": {"max_frames": 4},
    "drive": {"frames": 9},
    "model": {"preset": "small"},
    "meta": {"name": "small", "source": "meta.safetensors"},
    "finetune": {"sweep": [1, 2], "perceptual_width": 0.1, "max_batch": 1},
    "score": {"identity_frames": 2, "reference_frames": 2},
}
BUILD = 600_000
"""Longest time that the build may take, ms: some 14 jobs, each of which loads torch."""


def write_meta_model(path: Path) -> None:
    """A small model with random weights, which see poses a little."""
    torch.manual_seed(0)
    small = PRESETS["small"]
    model = Reenactor(small)
    with torch.no_grad():
        model.pose_encoder.classifier[-1].weight.mul_(5e8)
    save_model(path, model, {}, build_discriminator(small, 2))


def serve(folder: Path, port: int = 0) -> tuple[subprocess.Popen, str]:
    """The server, as the command starts it, and its address."""
    command = [sys.executable, "-m", "reenact", "studio", str(folder), "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, next(line.strip() for line in process.stdout if "token=" in line)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of a folder that is no project yet, which can be started again: a list of its process."""
    folder = tmp_path_factory.mktemp("studio") / "lab"
    process, address = serve(folder)
    running = [process]
    yield folder, address, running
    running[0].kill()
    running[0].wait()
    build = Build.current(Project(folder))
    for event in build.events() if build else []:
        if event.kind == "running" and build.state().status == "running":
            os.killpg(event.values["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def page(server):
    """A page of a browser of its own, on which nothing may go wrong."""
    wrong: list[str] = []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA])
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        opened.set_default_timeout(60_000)
        opened.goto(server[1])
        yield opened
        browser.close()
    assert not wrong


def add(page, kind: str, name: str, media: Path) -> None:
    """Fill in the form for a person or driver."""
    page.goto(re.match(r"http://[^/]+", page.url)[0] + ("/add" if kind == "person" else "/add?driver=true"))
    page.get_by_label("Name", exact=False).first.fill(name)
    page.locator("input[type=file]").set_input_files(media)
    page.locator(".files li[data-id]").wait_for()
    if kind == "person":
        page.get_by_label("Public domain").check()
    else:
        page.get_by_text("Only a part of it").click()
        page.get_by_label("To", exact=True).fill("0.3")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("heading", name=name).wait_for()


def built(page) -> None:
    """Wait until the build's page says that all is done."""
    page.locator("main .said").filter(has_text=re.compile("done|failed")).wait_for(timeout=BUILD)
    assert "Everything is built" in page.locator("main").inner_text(), page.locator("main").inner_text()


def turn_to(page, name: str) -> None:
    """Open a page by the menu; until its script has run, it takes no file."""
    page.locator(".menu").get_by_role("link", name=name).click()
    page.wait_for_load_state()


def test_the_whole_way(page, server, demo_media, descriptor_weights) -> None:
    folder, address, running = server
    base = re.match(r"http://[^/]+", address)[0]
    page.get_by_role("button", name="Create the project").click()
    page.get_by_text("Nobody yet").wait_for()
    _made_small(folder, descriptor_weights)
    add(page, "person", "astronaut", demo_media("astronaut.png"))
    page.get_by_text("One face; it is followed.").wait_for()
    add(page, "driver", "speech", demo_media("single_face.mp4"))
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert (
        written["identities"]["astronaut"]["consent"] == "public-domain"
        and written["drivers"]["speech"]["end"] == "0.3"
    )

    turn_to(page, "Build")
    page.get_by_role("button", name="Build", exact=True).click()
    page.get_by_text(re.compile(r"[1-9]\d* of \d+ steps")).wait_for(timeout=BUILD)
    running[0].kill()  # in the middle of the build
    running[0].wait()
    running[0], again = serve(folder, int(base.rpartition(":")[2]))
    assert again == address, "the same address, and the browser is still known"
    built(page)

    turn_to(page, "People")
    page.locator(".cards").get_by_role("link", name="astronaut").click()
    page.locator(".sheet img").first.wait_for()
    turn_to(page, "Avatars")
    chosen = page.locator(".take.chosen b").inner_text()
    page.get_by_role("button", name="Use this one").first.click()
    page.get_by_text("your choice").wait_for(timeout=BUILD)
    assert page.locator(".take.chosen b").inner_text() != chosen
    turn_to(page, "Build")
    built(page)
    _drive(page, folder)
    turn_to(page, "Verify")
    page.locator("input[type=file]").set_input_files(folder / "results/renders/astronaut/speech.mp4")
    page.locator(".verdict.intact").wait_for()
    turn_to(page, "Report")
    page.frame_locator("iframe").get_by_role("heading", name="astronaut").wait_for()


def _made_small(folder: Path, descriptor_weights: Path) -> None:
    """Take the smallest model, and what would be downloaded."""
    write_meta_model(folder / "meta.safetensors")
    config = yaml.safe_load((folder / "config.yaml").read_text()) | SMALL
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    target = folder / "resources/weights" / descriptor_weights.name
    target.parent.mkdir(parents=True)
    shutil.copy(descriptor_weights, target)


def _drive(page, folder: Path) -> None:
    """Move sliders, see the picture change, render what they say, and see it play."""
    turn_to(page, "Drive")
    picture = page.locator("[data-picture]")

    def changed_from(before: str) -> str:
        end = time.monotonic() + 60
        while (now := picture.get_attribute("src")) == before:
            assert time.monotonic() < end
            page.wait_for_timeout(100)
        return now

    first = changed_from(EMPTY)
    page.get_by_label("Frame of the driver").press("End")
    second = changed_from(first)
    page.get_by_label("Strength of the motion").press("End")
    changed_from(second)
    page.get_by_role("button", name="Drive with the webcam").click()
    page.locator("[data-latency]", has_text=re.compile("frames/s|No face")).wait_for()
    assert page.get_by_label("Strength of the motion").is_disabled()
    page.get_by_role("button", name="Stop the webcam").click()
    assert page.get_by_label("Strength of the motion").is_enabled()
    page.get_by_role("button", name="Render the video like this").click()
    built(page)
    assert yaml.safe_load((folder / "config.yaml").read_text())["render"]["pose"]["intensity"] == 2
    page.get_by_role("link", name="See the videos").click()
    video = page.locator("main video[controls]")
    video.wait_for()
    end = time.monotonic() + 60
    while video.evaluate("video => video.readyState") < 2:
        assert time.monotonic() < end
        page.wait_for_timeout(100)


def test_keyboard_and_a_phones_width(page, server) -> None:
    base = re.match(r"http://[^/]+", server[1])[0]
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("people", "add", "build", "avatars", "drive", "verify", "report", "api"):
        page.goto(f"{base}/{name}")
        page.wait_for_load_state("networkidle") if name == "api" else page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip", name
        unnamed = "button, a, input:not([type=hidden]), select, img, video, iframe, progress"
        for element in page.locator(unnamed).all():
            assert element.evaluate(NAMED), (name, element.evaluate("element => element.outerHTML"))


NAMED = """element => element.closest('[hidden]') || element.classList.contains('unseen')
  || (element.tagName === 'IMG' && element.hasAttribute('alt'))
  || [element.ariaLabel, element.title, element.innerText, ...[...(element.labels || [])].map(l => l.innerText)]
    .some(text => (text || '').trim())"""


def test_the_webcam_is_recorded(page, server) -> None:
    base = re.match(r"http://[^/]+", server[1])[0]
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{base}/add")
    page.get_by_role("button", name="Use the webcam").click()
    page.get_by_role("button", name="Take a photo").click()
    page.locator(".files li[data-id]").wait_for()
    assert "photo" in page.locator(".files .name").inner_text()
