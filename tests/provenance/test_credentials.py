"""Content Credentials: what is written is read, by readers of two makers; every change of the file is seen."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import c2pa
import cv2
import encypher_c2pa
import ffmpeg
import imageio_ffmpeg
import numpy as np
import pytest
from cryptography import x509
from person_clips import swaying
from safetensors.torch import load_file, save_file
from time_stamp_authority import time_stamp_authority
from torch import arange

from reenact.provenance.credentials import (
    FORMATS,
    LIST,
    Origin,
    Statement,
    list_files,
    read_credentials,
    sha256_of,
    sidecar_of,
    sign_beside,
    sign_file,
    with_credentials,
)
from reenact.provenance.keys import SigningKey, load_signing_key, user_root
from reenact.provenance.model_statement import read_statement, sign_model, weights_sha256
from reenact.rendering.encode import write_alpha_video, write_video
from reenact.runtime.errors import UserError

FACTS = {"rendering": "c0ffee07", "model": "ab" * 32, "consent": "written"}
ORIGINS = (Origin("identity", "12" * 32), Origin("driver", "34" * 32))
SAID = Statement("1.2", FACTS, False, ORIGINS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REENACT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def key() -> SigningKey:
    return load_signing_key(None, None)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    with write_video(tmp_path / "plain.mp4", 256, 256, preset="ultrafast") as writer:
        for step, image in enumerate(swaying(5)):
            writer.add(image, step / 25, 0.04)
    return tmp_path / "plain.mp4"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[str]:
    """Address of a time stamp authority that answers."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not there")
    folder = tmp_path / "authority"
    folder.mkdir()
    with time_stamp_authority(folder) as address:
        yield address


def by_encypher(path: Path, root: Path | None = None) -> str:
    """What the reader of another maker says, as JSON."""
    kind = FORMATS[path.suffix]
    pem = root.read_text() if root else None
    found = encypher_c2pa.verify(str(path), kind, trust_pem=pem, telemetry=False, online=False)
    return found if isinstance(found, str) else json.dumps(found)


def flipped(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_what_is_written_is_read(video: Path, tmp_path: Path, key: SigningKey) -> None:
    before = video.read_bytes()
    sign_file(video, tmp_path / "signed.mp4", SAID, key)
    assert video.read_bytes() == before
    found = read_credentials(tmp_path / "signed.mp4")
    assert (found.state, found.ours, found.tool, found.facts) == ("intact", True, "reenact 1.2", FACTS)
    assert found.source_type == "trainedAlgorithmicMedia" and not found.trusted and not found.problems
    assert read_credentials(tmp_path / "signed.mp4", user_root().read_text()).trusted
    assert (tmp_path / "signed.mp4").stat().st_size - len(before) < 12_000
    sign_file(video, tmp_path / "pasted.mp4", Statement("1", FACTS, True, ORIGINS), key)
    assert read_credentials(tmp_path / "pasted.mp4").source_type == "compositeWithTrainedAlgorithmicMedia"
    assert read_credentials(video).state == "none"


def test_pictures_and_sound_stay(video: Path, tmp_path: Path, key: SigningKey) -> None:
    sign_file(video, tmp_path / "signed.mp4", SAID, key)
    hashes = []
    for path in (video, tmp_path / "signed.mp4"):
        out, _ = (
            ffmpeg.input(str(path))
            .output("-", format="framemd5", c="copy")
            .run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), capture_stdout=True, quiet=True)
        )
        hashes.append(out)
    assert hashes[0] == hashes[1], "every packet with its times"


def test_media_are_named_by_hash_alone(video: Path, tmp_path: Path, key: SigningKey) -> None:
    sign_file(video, tmp_path / "signed.mp4", SAID, key)
    with c2pa.Reader(str(tmp_path / "signed.mp4")) as reader:
        text = reader.json()
        (manifest,) = json.loads(text)["manifests"].values()
    assert [one["instance_id"] for one in manifest["ingredients"]] == ["sha256:" + "12" * 32, "sha256:" + "34" * 32]
    assert str(tmp_path) not in text and "plain" not in text and "thumbnail" not in text
    (action,) = next(a for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))["data"]["actions"]
    assert len(action["parameters"]["ingredients"]) == 2


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".png"])
def test_a_reader_of_another_maker_agrees(video: Path, tmp_path: Path, key: SigningKey, suffix: str) -> None:
    plain, signed = tmp_path / f"plain{suffix}", tmp_path / f"signed{suffix}"
    if suffix != ".mp4":
        flags = {"vframes": 1} if suffix == ".png" else {"c": "copy"}
        ffmpeg.input(str(video)).output(str(plain), **flags).run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    sign_file(plain, signed, SAID, key)
    untrusted, trusted = by_encypher(signed), by_encypher(signed, user_root())
    flipped(signed, -400 if suffix == ".mp4" else len(signed.read_bytes()) // 2 if suffix == ".mov" else -60)
    broken = by_encypher(signed, user_root())
    assert "ismatch" not in untrusted and "ismatch" not in trusted and "ash.mismatch" in broken
    assert "signingCredential.untrusted" in untrusted and "signingCredential.untrusted" not in trusted


@pytest.mark.parametrize("where", ["pictures", "index", "manifest"])
def test_a_changed_bit_is_seen(video: Path, tmp_path: Path, key: SigningKey, where: str) -> None:
    signed = tmp_path / "signed.mp4"
    sign_file(video, signed, SAID, key)
    data = signed.read_bytes()
    place = {"pictures": len(data) - 400, "index": data.index(b"mvhd") + 20, "manifest": data.index(b"c0ffee07")}
    flipped(signed, place[where])
    assert read_credentials(signed).state == "tampered"


def test_credentials_of_another_file(video: Path, tmp_path: Path, key: SigningKey) -> None:
    sidecar = sign_beside(video, SAID, key)
    assert sidecar == tmp_path / "plain.mp4.c2pa" and read_credentials(video).state == "intact"
    with write_video(tmp_path / "other.mp4", 64, 64, preset="ultrafast") as writer:
        writer.add(np.zeros((64, 64, 3), np.uint8), 0, 1)
    sidecar.rename(sidecar_of(tmp_path / "other.mp4"))
    assert read_credentials(tmp_path / "other.mp4").state == "tampered"


def test_a_remux_and_other_sound_lose_them(video: Path, tmp_path: Path, key: SigningKey) -> None:
    sign_file(video, tmp_path / "signed.mp4", SAID, key)
    ffmpeg.input(str(tmp_path / "signed.mp4")).output(str(tmp_path / "copy.mp4"), c="copy").run(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True
    )
    sound = ffmpeg.input("sine=frequency=300:duration=1", f="lavfi")
    pictures = ffmpeg.input(str(tmp_path / "signed.mp4")).video
    ffmpeg.output(pictures, sound.audio, str(tmp_path / "sound.mp4"), vcodec="copy", shortest=None).run(
        cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True
    )
    assert [read_credentials(tmp_path / name).state for name in ("copy.mp4", "sound.mp4")] == ["none", "none"]


def test_sidecars_of_webm_and_folders(tmp_path: Path, key: SigningKey) -> None:
    webm = tmp_path / "a.webm"
    with write_alpha_video(webm, 64, 64, "vp9") as writer:
        writer.add(np.full((64, 64, 4), 30000, np.uint16), 0, 1)
    folder = tmp_path / "a.frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "000000.png"), np.zeros((8, 8, 3), np.uint8))
    (folder / LIST).write_bytes(list_files(folder))
    for path in (webm, folder):
        assert read_credentials(path).state == "none"
        sign_beside(path, SAID, key)
        found = read_credentials(path)
        assert (found.state, found.sidecar, found.facts) == ("intact", True, FACTS)
    flipped(webm, -20)
    flipped(folder / "000000.png", -20)
    assert [read_credentials(path).state for path in (webm, folder)] == ["tampered", "tampered"]
    flipped(folder / "000000.png", -20)
    (folder / "more.png").write_bytes(b"")
    assert read_credentials(folder).state == "tampered", "a file more"


def test_png(tmp_path: Path, key: SigningKey) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    sign_file(tmp_path / "a.png", tmp_path / "b.png", SAID, key)
    assert read_credentials(tmp_path / "b.png").facts == FACTS


def test_credentials_of_media_are_kept(video: Path, tmp_path: Path, key: SigningKey) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    sign_file(tmp_path / "a.png", folder / "a.png", Statement("0.9", {"earlier": "yes"}, False, ()), key)
    cv2.imwrite(str(folder / "b.png"), np.zeros((8, 8, 3), np.uint8))
    assert with_credentials(folder) == (folder / "a.png",) and with_credentials(video) == ()
    origin = Origin("identity", sha256_of(folder), with_credentials(folder))
    sign_file(video, tmp_path / "signed.mp4", Statement("1", FACTS, False, (origin, ORIGINS[1])), key)
    assert read_credentials(tmp_path / "signed.mp4").state == "intact"
    with c2pa.Reader(str(tmp_path / "signed.mp4")) as reader:
        text = reader.json()
    assert '"earlier": "yes"' in text and len(json.loads(text)["manifests"]) == 2


def test_other_files_have_none(tmp_path: Path) -> None:
    contents = {"a.mp4": b"", "b.mp4": os.urandom(999), "c.txt": b"text", "d.png": b"\x89PNG\r\n\x1a\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert read_credentials(tmp_path / name).state in ("none", "unreadable"), name


def test_a_time_stamp_that_cannot_be_had(video: Path, tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(UserError, match=r"mark\.time_stamp: http://127\.0\.0\.1:9/ gave no time stamp") as error:
        sign_file(video, tmp_path / "signed.mp4", SAID, key, "http://127.0.0.1:9/")
    assert "\n" not in str(error.value) and video.exists() and not (tmp_path / "signed.mp4").exists()


def test_a_time_stamp(video: Path, tmp_path: Path, key: SigningKey, authority: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    sign_file(video, tmp_path / "signed.mp4", SAID, key, authority)
    found = read_credentials(tmp_path / "signed.mp4")
    assert found.state == "intact" and found.signed is not None
    assert before <= datetime.fromisoformat(found.signed) <= datetime.now(UTC)
    sign_file(video, tmp_path / "without.mp4", SAID, key)
    assert read_credentials(tmp_path / "without.mp4").signed is None, "FACTS has no time of its own here"


# ---- keys ----------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_for_its_user_alone(home: Path, key: SigningKey) -> None:
    assert key.own and key.algorithm == "es256"
    files = sorted((home / "signing").iterdir())
    assert [file.name for file in files] == ["certificate.pem", "key.pem", "root.pem"]
    assert {file.stat().st_mode & 0o077 for file in [home / "signing", *files]} == {0}
    assert load_signing_key(None, None).certificate == key.certificate
    leaf, root = x509.load_pem_x509_certificates(key.certificate.encode())
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days > 25 * 365 and leaf.issuer == root.subject
    assert list(home.glob(".signing-*")) == []


def test_processes_that_need_a_key_at_once_get_the_same(home: Path) -> None:
    program = "from reenact.provenance.keys import load_signing_key; print(load_signing_key(None, None).certificate)"
    started = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1


def test_mistaken_keys(home: Path, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, private = home / "signing" / "certificate.pem", home / "signing" / "key.pem"
    (tmp_path / "not.pem").write_text("no key")
    monkeypatch.setenv("REENACT_HOME", str(tmp_path / "other"))
    load_signing_key(None, None)
    for pair, message in [
        ((certificate, tmp_path / "absent.pem"), r"mark\.key: .*absent\.pem cannot be read"),
        ((certificate, tmp_path / "not.pem"), r"mark\.key: .*not\.pem is no private key in PEM"),
        ((tmp_path / "not.pem", private), r"mark\.certificate: .*not\.pem holds no certificate"),
        ((certificate, tmp_path / "other" / "signing" / "key.pem"), "is not the key of the first certificate"),
    ]:
        with pytest.raises(UserError, match=message):
            load_signing_key(*pair)
    assert not load_signing_key(certificate, private).own


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REENACT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UserError, match="a key cannot be made there"):
        load_signing_key(None, None)


# ---- model files ---------------------------------------------------------------------------------------------


def test_a_model_says_the_same_in_its_metadata(tmp_path: Path, key: SigningKey) -> None:
    plain, signed = tmp_path / "plain.safetensors", tmp_path / "signed.safetensors"
    save_file({"a": arange(12.0).reshape(3, 4), "b": arange(5)}, plain, metadata={"reenact": "{}"})
    sign_model(plain, signed, {"weights": weights_sha256(plain), "consent": "own"}, key)
    assert weights_sha256(plain) == weights_sha256(signed)
    assert all((load_file(plain)[name] == load_file(signed)[name]).all() for name in "ab")
    found = read_statement(signed)
    assert (found.state, found.facts["consent"], found.trusted) == ("intact", "own", False)
    assert read_statement(signed, user_root().read_bytes()).trusted
    assert read_statement(plain).state == "none"
    flipped(signed, -3)
    assert read_statement(signed).state == "tampered", "other weights"
    flipped(signed, -3)
    flipped(signed, signed.read_bytes().index(b"own"))
    assert read_statement(signed).state == "tampered", "another statement"
    with pytest.raises(UserError, match="not a readable model file"):
        read_statement(Path(__file__))
